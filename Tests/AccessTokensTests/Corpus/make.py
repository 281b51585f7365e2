#!/usr/bin/env python3
"""Makes the corpus of tokens beside this file: good ones, and hostile ones with the answer that each must get.

    pip install cryptography && Tests/AccessTokensTests/Corpus/make.py

The keys are new each time, so that no private key is kept. `tokens.json` has the instant at which the tokens are looked at, the
issuers with their sets of keys, and the tokens: "accepted", or the label of the refusal.
"""

import base64
import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

NOW = 1_800_000_000
ISSUER, OTHER, WEAK, PLAIN = (f"https://{name}.example" for name in ("id", "other", "weak", "plain"))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED_ORDER = 2**252 + 27742317777372353535851937790883648493


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def text(value):
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


RSA, PS = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC, EC_OTHER, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
SHORT = rsa.generate_private_key(65537, 1024)


def rsa_jwk(key, **more):
    public = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(public.n), "e": number(public.e), **more}


def ec_jwk(key, curve="P-256", size=32, **more):
    public = key.public_key().public_numbers()
    return {"kty": "EC", "crv": curve, "x": number(public.x, size), "y": number(public.y, size), **more}


ED_X = b64(ED.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
RSA_JWK = rsa_jwk(RSA, kid="rsa", alg="RS256", use="sig")
EC_JWK = ec_jwk(EC, kid="ec", alg="ES256")
ED_JWK = {"kty": "OKP", "crv": "Ed25519", "x": ED_X, "kid": "ed", "alg": "EdDSA"}
PLAIN_EC = ec.generate_private_key(ec.SECP256R1())

ISSUERS = [
    {"name": ISSUER, "plain": False, "jwks": {"keys": [RSA_JWK, rsa_jwk(PS, kid="ps", alg="PS256"), EC_JWK, ED_JWK]}},
    # The same kid, and another key.
    {"name": OTHER, "plain": False, "jwks": {"keys": [ec_jwk(EC_OTHER, kid="ec", alg="ES256")]}},
    {"name": PLAIN, "plain": True, "jwks": {"keys": [ec_jwk(PLAIN_EC)]}},
    {"name": WEAK, "plain": False, "jwks": {"keys": [
        rsa_jwk(SHORT, kid="short"),
        {**rsa_jwk(RSA, kid="one"), "e": "AQ"},
        {**rsa_jwk(RSA, kid="even"), "e": "Ag"},
        {**ec_jwk(EC, kid="off-curve"), "y": number(7, 32)},
        ec_jwk(P384, "P-384", 48, kid="p384"),
        {**ec_jwk(EC, kid="encrypts"), "use": "enc"},
        {**ec_jwk(EC, kid="operations"), "key_ops": ["sign"]},
        {"kty": "oct", "k": b64(b"a secret that everybody has"), "kid": "shared", "alg": "HS256"},
        {**ec_jwk(EC, kid="private"), "d": number(EC.private_numbers().private_value, 32)},
        {**ec_jwk(EC, kid="mixed"), "alg": "RS256"},
        {**rsa_jwk(RSA, kid="none"), "alg": "none"},
        {**ec_jwk(EC, kid="x509"), "x": None, "x5c": ["MIIB"]},
    ]}},
]


def sign_rs256(key):
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def sign_ps256(key, salt=32, digest=hashes.SHA256):
    return lambda data: key.sign(data, padding.PSS(padding.MGF1(digest()), salt), digest())


def points(key, data):
    return utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))


def sign_es256(key, size=32):
    return lambda data: b"".join(part.to_bytes(size, "big") for part in points(key, data))


def sign_hs256(secret, digest=hashlib.sha256):
    return lambda data: hmac.new(secret, data, digest).digest()


SIGN = {"rsa": ("RS256", sign_rs256(RSA)), "ps": ("PS256", sign_ps256(PS)), "ec": ("ES256", sign_es256(EC)), "ed": ("EdDSA", ED.sign)}
CLAIMS = {"iss": ISSUER, "sub": "ada", "aud": "rides", "exp": NOW + 900, "iat": NOW - 10, "jti": "t1", "client_id": "page", "scope": "rider"}


def claims(**change):
    result = {**CLAIMS, **change}
    return {name: value for name, value in result.items() if value is not ...}


def token(header=None, body=None, sign=None, key="ec", **change):
    """`change` is of the header; ... takes a member away."""
    algorithm, signer = SIGN[key]
    if header is None:
        header = {"typ": "at+jwt", "alg": algorithm, "kid": key, **change}
        header = {name: value for name, value in header.items() if value is not ...}
    signed = b64(text(header).encode()) + "." + b64(text(body or CLAIMS).encode())
    return signed + "." + b64((sign or signer)(signed.encode()))


TOKENS = []


def add(name, expected, made, **more):
    TOKENS.append({"name": name, "token": made, "expected": expected, **more})


# Good ones, without which a corpus of refusals proves nothing.
for key in SIGN:
    add(f"good {key}", "accepted", token(key=key))
add("good, with the newer name of its algorithm", "accepted", token(key="ed", alg="Ed25519"))
add("good, with the whole media type", "accepted", token(typ="application/at+jwt"))
add("good, with its type in capitals", "accepted", token(typ="AT+JWT"))
add("good, for several", "accepted", token(body=claims(aud=["maps", "rides"])))
add("good, within the skew", "accepted", token(body=claims(exp=NOW - 29, nbf=NOW + 29, iat=NOW + 29)))
add("good, with unknown members", "accepted", token(body=claims(x={"a": [1, None]}), zip="DEF", x5t="AA"))
add("good, of an issuer with one key and no kid", "accepted",
    token(header={"alg": "ES256", "typ": "JWT"}, body=claims(iss=PLAIN, jti=..., client_id=...), sign=sign_es256(PLAIN_EC)))
add("good, of the other issuer", "accepted", token(body=claims(iss=OTHER), sign=sign_es256(EC_OTHER)))

# No signature, in every spelling.
for spelling in ("none", "None", "NONE", "nOnE", "none ", ""):
    add(f"alg {spelling!r} without a signature", "wrong_algorithm", token(alg=spelling, sign=lambda data: b""))
    add(f"alg {spelling!r} with a signature", "wrong_algorithm", token(alg=spelling))
add("no alg", "malformed", token(alg=...))
add("alg of another type", "malformed", token(alg=["ES256"]))
add("alg null", "malformed", token(alg=None))
add("no signature", "bad_signature", token(sign=lambda data: b""))
add("signature cut off with its dot", "malformed", token().rsplit(".", 1)[0])

# The public key taken for a shared secret, in each form that somebody might have it in.
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
PKCS1 = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
DER = RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
for form, secret in {
        "PEM": PEM, "PEM without its last line break": PEM.strip(), "PKCS 1 PEM": PKCS1, "DER": DER, "JWK": text(RSA_JWK).encode(),
        "modulus": base64.urlsafe_b64decode(RSA_JWK["n"] + "=="), "nothing": b""}.items():
    add(f"HS256 with the public key, {form}", "wrong_algorithm", token(key="rsa", alg="HS256", sign=sign_hs256(secret)))
add("HS512 with the public key", "wrong_algorithm", token(key="rsa", alg="HS512", sign=sign_hs256(PEM, hashlib.sha512)))

# The algorithm of another key.
for alg, key in (("PS256", "rsa"), ("RS256", "ps"), ("RS256", "ec"), ("ES256", "ed"), ("EdDSA", "ec"), ("ES256", "rsa")):
    add(f"alg {alg} for the key {key}", "wrong_algorithm", token(key=key, alg=alg))
for alg in ("RS384", "RS512", "ES384", "ES256K", "PS384", "rs256", "es256", "eddsa", "Ed448", "RSA-OAEP", "dir", "ES256\u0000"):
    add(f"alg {alg!r}", "wrong_algorithm", token(alg=alg))
add("PS256 with a salt of 20 bytes", "bad_signature", token(key="ps", sign=sign_ps256(PS, 20)))
add("PS256 with SHA-384", "bad_signature", token(key="ps", sign=sign_ps256(PS, 48, hashes.SHA384)))
add("RS256 with SHA-1", "bad_signature", token(key="rsa", sign=lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.SHA1())))
add("RS256 with a zero in front", "bad_signature", token(key="rsa", sign=lambda data: b"\0" + sign_rs256(RSA)(data)))
add("RS256 of all zeros", "bad_signature", token(key="rsa", sign=lambda data: bytes(256)))

# Keys that a token brings along.
EVIL = ec.generate_private_key(ec.SECP256R1())
for name, value in {
        "jwk": ec_jwk(EVIL), "jku": "http://127.0.0.1:9/jwks.json", "x5u": "http://127.0.0.1:9/x.pem", "x5c": ["MIIBIjANBg=="],
        "x5t": "AAAA"}.items():
    add(f"signed by a key in {name}", "bad_signature", token(sign=sign_es256(EVIL), **{name: value}))
    add(f"signed by a key in {name}, without kid", "unknown_key", token(sign=sign_es256(EVIL), kid=..., **{name: value}))

# crit and b64.
for name, value in {"unknown": ["exp"], "empty": [], "no list": "exp", "alg": ["alg"], "b64": ["b64"], "null": None, "number": 1}.items():
    add(f"crit: {name}", "critical_header", token(crit=value))
add("crit: b64 false", "critical_header", token(crit=["b64"], b64=False))
add("b64 false without crit", "critical_header", token(b64=False))

# kid.
for name, kid in {
        "path": "../../dev/null", "SQL": "x' UNION SELECT 'key", "address": "http://127.0.0.1:9/key", "shell": "$(id)", "other case": "EC"}.items():
    add(f"kid is {name}", "unknown_key", token(kid=kid))
add("kid is empty", "malformed", token(kid=""))
add("kid is a NUL", "malformed", token(kid="\0"))
add("kid is a number", "malformed", token(kid=1))
add("kid is null", "malformed", token(kid=None))
add("kid of 256 bytes", "malformed", token(kid="k" * 256))
add("no kid, several keys", "unknown_key", token(kid=...))
add("kid of a megabyte", "malformed", "", recipe={"head": '{"typ":"at+jwt","alg":"ES256","kid":"', "fill": "k", "count": 1 << 20, "tail": '"}', "rest": "." + token().split(".", 1)[1]})
add("the same kid, the other issuer's key", "bad_signature", token(sign=sign_es256(EC_OTHER)))
add("the other issuer's name, this one's key", "bad_signature", token(body=claims(iss=OTHER)))

# Keys too weak, or for something else, are not in the set.
for kid, signer in {"short": sign_rs256(SHORT), "one": lambda data: bytes(
        [0, 1] + [255] * 202 + [0]) + bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(data).digest(),
        "even": sign_rs256(RSA), "none": sign_rs256(RSA)}.items():
    add(f"key {kid}", "unknown_key", token(key="rsa", body=claims(iss=WEAK), kid=kid, sign=signer))
for kid in ("off-curve", "encrypts", "operations", "private", "mixed", "x509"):
    add(f"key {kid}", "unknown_key", token(body=claims(iss=WEAK), kid=kid))
add("key p384", "unknown_key", token(body=claims(iss=WEAK), kid="p384", sign=lambda data: bytes(96)))
add("key shared, HS256", "wrong_algorithm", token(body=claims(iss=WEAK), kid="shared", alg="HS256", sign=sign_hs256(b"a secret that everybody has")))

# ECDSA: r and s.
SIGNED = token().rsplit(".", 1)[0].encode()
R, S = points(EC, SIGNED)
for name, r, s in (("r = 0", 0, S), ("s = 0", R, 0), ("r = s = 0", 0, 0), ("r = n", ORDER, S), ("s = n", R, ORDER), ("s > n", R, 2**256 - 1), ("r and s exchanged", S, R)):
    add(f"ES256 with {name}", "bad_signature", token(sign=lambda data: r.to_bytes(32, "big") + s.to_bytes(32, "big")))
add("ES256 in DER", "bad_signature", token(sign=lambda data: EC.sign(data, ec.ECDSA(hashes.SHA256()))))
add("ES256 of 63 bytes", "bad_signature", token(sign=lambda data: sign_es256(EC)(data)[:63]))
add("ES256 of 65 bytes", "bad_signature", token(sign=lambda data: sign_es256(EC)(data) + b"\0"))
add("ES256 with 33 bytes each", "bad_signature", token(sign=sign_es256(EC, 33)))
add("ES256 of another curve", "bad_signature", token(sign=sign_es256(P384, 48)))


def larger_s(data):
    signature = ED.sign(data)
    return signature[:32] + (int.from_bytes(signature[32:], "little") + ED_ORDER).to_bytes(32, "little")


add("Ed25519 with an S that is not reduced", "bad_signature", token(key="ed", sign=larger_s))
add("Ed25519 of 63 bytes", "bad_signature", token(key="ed", sign=lambda data: ED.sign(data)[:63]))
add("Ed25519 of zeros", "bad_signature", token(key="ed", sign=lambda data: bytes(64)))
add("Ed25519 with the neutral element and S = 0", "bad_signature", token(key="ed", sign=lambda data: bytes([1]) + bytes(63)))

# What was signed is what is read.
HEAD, BODY, SIGNATURE = token().split(".")
add("claims changed", "bad_signature", ".".join((HEAD, b64(text(claims(sub="eve")).encode()), SIGNATURE)))
add("header changed", "bad_signature", ".".join((b64(text({"alg": "ES256", "typ": "at+jwt", "kid": "ec", "a": 1}).encode()), BODY, SIGNATURE)))
add("a bit of the signature changed", "bad_signature", HEAD + "." + BODY + "." + b64(bytes([base64.urlsafe_b64decode(SIGNATURE + "==")[0] ^ 1]) + base64.urlsafe_b64decode(SIGNATURE + "==")[1:]))

# Members twice, and JSON that readers understand differently.
add("alg twice", "malformed", token(header='{"typ":"at+jwt","alg":"none","kid":"ec","alg":"ES256"}'))
add("alg twice, once escaped", "malformed", token(header='{"typ":"at+jwt","alg":"ES256","kid":"ec","\\u0061lg":"none"}'))
add("sub twice", "malformed", token(body=text(CLAIMS)[:-1] + ',"sub":"eve"}'))
add("exp twice", "malformed", token(body=text(CLAIMS)[:-1] + ',"exp":99999999999}'))
add("claims are a list", "malformed", token(body="[]"))
add("claims are text", "malformed", token(body='"ada"'))
add("claims are not JSON", "malformed", token(body="{iss:1}"))
add("claims go on", "malformed", token(body=text(CLAIMS) + "{}"))
add("claims have a comma too many", "malformed", token(body=text(CLAIMS)[:-1] + ",}"))
add("claims deeper than any", "malformed", token(body=text(CLAIMS)[:-1] + ',"x":' + "[" * 200 + "]" * 200 + "}"))
add("claims with a lone surrogate", "malformed", token(body=text(CLAIMS)[:-1] + ',"x":"\\ud800"}'))
add("header with a byte order mark", "malformed", token(header="\ufeff" + text({"typ": "at+jwt", "alg": "ES256", "kid": "ec"})))
add("header is a list", "malformed", token(header="[]"))

# Base64url has one form.
good = token()
add("padding", "malformed", good + "=")
add("padding in the header", "malformed", good.replace(".", "=.", 1))
add("plain Base64", "malformed", ".".join((HEAD, BODY, SIGNATURE.replace("-", "+").replace("_", "/")[:-1] + "+")))
digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
add("bits behind the last byte", "malformed", good[:-1] + digits[digits.index(good[-1]) | 1])
add("a space", "malformed", good[:40] + " " + good[40:])
add("a line break at the end", "malformed", good + "\n")
add("a digit too many", "malformed", HEAD + "." + BODY + "." + SIGNATURE + "AAA")
add("a letter of another script", "malformed", good[:40] + "\u0430" + good[41:])

# Other forms.
add("nothing", "malformed", "")
add("two dots", "malformed", "..")
add("one dot", "malformed", HEAD + "." + BODY)
add("four parts", "malformed", good + ".AAAA")
add("JWE", "encrypted", b64(b'{"alg":"dir","enc":"A256GCM"}') + "..AAAA.AAAA.AAAA")
add("JSON serialization, general", "malformed", text({"payload": BODY, "signatures": [{"protected": HEAD, "signature": SIGNATURE}]}))
add("JSON serialization, flat", "malformed", text({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}))
add("nested", "malformed", token(body=text(good), cty="JWT"))
add("of 9,000 bytes", "malformed", token(body=claims(x="x" * 6_700)))

# Types.
for typ in ("JWT", "jwt", "id+jwt", "dpop+jwt", "secevent+jwt", "logout+jwt", "at+jwt ", "text/at+jwt", ""):
    add(f"typ {typ!r}", "wrong_type", token(typ=typ))
add("no typ", "wrong_type", token(typ=...))
add("typ of another type", "malformed", token(typ=1))
for member in ("nonce", "at_hash", "c_hash", "s_hash"):
    add(f"an ID token, by {member}", "identity_token", token(
        header={"alg": "ES256", "typ": "JWT"}, body=claims(iss=PLAIN, **{member: "n"}), sign=sign_es256(PLAIN_EC)))
add("an ID token that says that it is an access token", "identity_token", token(body=claims(nonce="n")))

# Claims.
for member in ("sub", "aud", "exp", "iat", "jti", "client_id"):
    add(f"no {member}", "bad_claim", token(body=claims(**{member: ...})))
    add(f"{member} null", "bad_claim", token(body=claims(**{member: None})))
add("no iss", "bad_claim", token(body=claims(iss=...)))
for name, issuer in {
        "with a slash": ISSUER + "/", "in capitals": ISSUER.upper(), "over HTTP": ISSUER.replace("https", "http"), "unknown": "https://evil.example",
        "empty": "", "with a NUL": ISSUER + "\0", "longer": ISSUER + ".evil.example"}.items():
    add(f"iss {name}", "unknown_issuer", token(body=claims(iss=issuer)))
add("iss a list", "bad_claim", token(body=claims(iss=[ISSUER])))
for name, audience in {"another": "maps", "others": ["maps", "rides2"], "longer": "rides.evil", "in capitals": "Rides"}.items():
    add(f"aud {name}", "wrong_audience", token(body=claims(aud=audience)))
for name, audience in {"empty list": [], "number": 1, "list with a number": ["rides", 1], "nested": [["rides"]], "object": {"rides": True}}.items():
    add(f"aud {name}", "bad_claim", token(body=claims(aud=audience)))
for name, value in {"fraction": f"{NOW}.5", "exponent": "1e400", "large exponent": "1e10", "beyond 64 bits": "9" * 30, "text": f'"{NOW + 900}"', "true": "true"}.items():
    add(f"exp {name}", "bad_claim", token(body=text(claims(exp=...))[:-1] + f',"exp":{value}}}'))
for name, expires in {"past": NOW - 30, "0": 0, "negative": -1, "least": -2**63}.items():
    add(f"exp {name}", "expired", token(body=claims(exp=expires)))
add("nbf in the future", "not_yet_valid", token(body=claims(nbf=NOW + 31)))
add("nbf greatest", "not_yet_valid", token(body=claims(nbf=2**63 - 1)))
add("nbf a text", "bad_claim", token(body=claims(nbf="0")))
add("iat in the future", "not_yet_valid", token(body=claims(iat=NOW + 31)))
for name, subject in {"empty": "", "of 256 bytes": "s" * 256, "with a NUL": "ada\0", "with a line break": "ada\nX-Role: operator", "a number": 7}.items():
    add(f"sub {name}", "bad_claim", token(body=claims(sub=subject)))
add("scope a list", "bad_claim", token(body=claims(scope=["operator"])))
add("roles with a number", "bad_claim", token(body=claims(roles=[1])))

assert len({entry["name"] for entry in TOKENS}) == len(TOKENS)
result = {"now": NOW, "audience": "rides", "issuers": ISSUERS, "tokens": TOKENS}
lines = ",\n".join("  " + json.dumps(entry) for entry in TOKENS)
issuers = ",\n".join("  " + json.dumps(entry) for entry in ISSUERS)
pathlib.Path(__file__).with_name("tokens.json").write_text(
    f'{{"now":{NOW},"audience":"rides","issuers":[\n{issuers}\n],"tokens":[\n{lines}\n]}}\n')
print(len(TOKENS), "tokens,", sum(entry["expected"] != "accepted" for entry in TOKENS), "of them hostile")
