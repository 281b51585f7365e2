#!/usr/bin/env bash
# Makes the keys of an installation, as two Kubernetes secrets on standard output: cabstand-key, which signs access tokens and is the
# gateway's alone, and cabstand-services, by which the services verify them and know each other. Needs openssl.
#   deploy/secrets.sh | kubectl apply -f -       once for an installation: new keys end every token and session
set -euo pipefail
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl genpkey -algorithm ed25519 -out "$work/key.pem"
openssl pkey -in "$work/key.pem" -pubout -out "$work/key.pub.pem"
openssl rand -hex 32 >"$work/service-secret"
data() { base64 -w 0 <"$work/$1"; }
cat <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: cabstand-key
type: Opaque
data:
  key.pem: $(data key.pem)
---
apiVersion: v1
kind: Secret
metadata:
  name: cabstand-services
type: Opaque
data:
  key.pub.pem: $(data key.pub.pem)
  service-secret: $(data service-secret)
YAML
