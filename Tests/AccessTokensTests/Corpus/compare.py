#!/usr/bin/env python3
"""How many of the corpus' tokens other libraries accept, set up as their documents say: issuer, audience, the algorithms of the
issuer's keys, 30 s of leeway.

    pip install PyJWT cryptography joserfc Authlib jwcrypto && Tests/AccessTokensTests/Corpus/compare.py
"""

import json
import pathlib
import time

import jwt
from authlib.jose import JsonWebKey, JsonWebToken
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jwt as jwcrypto_jwt

corpus = json.loads(pathlib.Path(__file__).with_name("tokens.json").read_text())
NOW, ALGORITHMS = corpus["now"], ["RS256", "PS256", "ES256", "EdDSA"]
real_time = time.time
time.time = lambda: NOW  # Libraries that ask the module.


def usable(issuer):
    """The keys of a set that a library can read: what it says to the others is not the question here."""
    return [key for key in issuer["jwks"]["keys"] if key.get("x", "") is not None]


def with_pyjwt(token, issuer):
    import datetime

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(NOW, tz)

    jwt.api_jwt.datetime = Clock
    kid = jwt.get_unverified_header(token).get("kid")
    keys = {key.get("kid"): key for key in usable(issuer)}
    key = jwt.PyJWK(keys[kid])
    jwt.decode(token, key, algorithms=ALGORITHMS, audience="rides", issuer=issuer["name"], leeway=30,
               options={"require": ["exp", "iat", "sub", "aud", "iss"]})


def with_joserfc(token, issuer):
    keys = joserfc_jwk.KeySet.import_key_set({"keys": usable(issuer)})
    decoded = joserfc_jwt.decode(token, keys, algorithms=ALGORITHMS)
    joserfc_jwt.JWTClaimsRegistry(
        now=NOW, leeway=30, iss={"essential": True, "value": issuer["name"]}, aud={"essential": True, "value": "rides"},
        exp={"essential": True}, sub={"essential": True}, iat={"essential": True}).validate(decoded.claims)


def with_authlib(token, issuer):
    keys = JsonWebKey.import_key_set({"keys": usable(issuer)})
    decoded = JsonWebToken(ALGORITHMS).decode(token, keys, claims_options={
        "iss": {"essential": True, "value": issuer["name"]}, "aud": {"essential": True, "value": "rides"}, "exp": {"essential": True},
        "sub": {"essential": True}, "iat": {"essential": True}})
    decoded.validate(now=NOW, leeway=30)


def with_jwcrypto(token, issuer):
    keys = jwcrypto_jwk.JWKSet.from_json(json.dumps({"keys": usable(issuer)}))
    made = jwcrypto_jwt.JWT(algs=ALGORITHMS, check_claims={"iss": issuer["name"], "aud": "rides", "exp": None, "sub": None, "iat": None})
    made.leeway = 30
    made.deserialize(token, keys)


def issuer_of(token):
    import base64
    try:
        body = token.split(".")[1]
        name = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))).get("iss")
    except Exception:
        name = None
    return next((issuer for issuer in corpus["issuers"] if issuer["name"] == name), corpus["issuers"][0])


def text_of(entry):
    recipe = entry.get("recipe")
    if not recipe:
        return entry["token"]
    import base64
    head = recipe["head"] + recipe["fill"] * recipe["count"] + recipe["tail"]
    return base64.urlsafe_b64encode(head.encode()).rstrip(b"=").decode() + recipe["rest"]


for name, verify in {"PyJWT": with_pyjwt, "joserfc": with_joserfc, "Authlib": with_authlib, "jwcrypto": with_jwcrypto}.items():
    wrong, good = [], 0
    for entry in corpus["tokens"]:
        token = text_of(entry)
        try:
            verify(token, issuer_of(token))
            accepted = True
        except Exception:
            accepted = False
        if entry["expected"] == "accepted":
            good += accepted
        elif accepted:
            wrong.append(entry["name"])
    print(f"{name}: {good} of the good tokens accepted, {len(wrong)} of the hostile ones: {', '.join(wrong)}")
