#!/usr/bin/env bash
# Tries everything that deploy/README.md says about containers on the real thing, from nothing to nothing: the image, docker compose,
# a Kubernetes of one node, the Tiltfile. Starts and stops a Docker engine and a cluster of its own.
#   deploy/test-deploy.sh          all of it, about ten minutes on two cores
#   deploy/test-deploy.sh --keep   leaves the engine and the cluster running, and says how to end them
# Needs root on Debian, and the cluster and Kafka beside the repository (../shared); without them it is a named skip.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

keep=no
[ "${1:-}" != --keep ] || keep=yes
shared=$PWD/../shared
started=$SECONDS
log=.build/test-deploy.log
mkdir -p .build
: >"$log"

work=/nonexistent
skip() {
    say "SKIPPED deploy tests: $*"
    exit 0
}
# Says what holds, with the time since the start.
ok() { printf '%4d s  ok: %s\n' "$((SECONDS - started))" "$*"; }
fail() {
    say "FAILED: $*"
    [ ! -s "$work/client" ] || {
        say "What the client saw last:"
        tail -n 3 "$work/client"
    }
    diagnose
    exit 1
}
quietly() { "$@" >>"$log" 2>&1; }
# until_true SECONDS WHAT COMMAND…
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >>"$log" 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "$what: not within the time"
        sleep 0.5
    done
}
# expect WHAT EXPECTED ACTUAL
expect() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1: expected $2, got $3"; fi; }

# --- What is needed ------------------------------------------------------------------------------------------------------

[ "$(id -u)" = 0 ] || skip "they need root, for an engine and a cluster"
for part in kube/up.sh kafka/image.sh tools/unpack.sh; do
    [ -x "$shared/$part" ] || skip "$part is not beside the repository"
done
[ ! -d /sys/class/net/kube0 ] || skip "another cluster of this kind is running (bridge kube0)"
[ ! -f /var/lib/dpkg/status ] || install_packages yes "${BUILD_PACKAGES[@]}" docker.io iptables debootstrap kcat jq curl nodejs chromium
# Debian's own client has BuildKit inside; another one earlier on the PATH may want a plugin for it.
PATH=/usr/bin:$PATH
export DOCKER_BUILDKIT=1 PYTHONDONTWRITEBYTECODE=1
tools=$("$shared/tools/unpack.sh" "${CABSTAND_TOOLS_FOLDER:-/tmp/cabstand-tools}")
python=python3
if python_packages playwright starlark-pyo3 >>"$log" 2>&1; then python=$PWD/.build/venv/bin/python3; fi
unpack_packages prometheus || skip "Debian's prometheus can't be had"
prometheus=$(PATH=$PATH:$PWD/.build/tools/usr/bin command -v prometheus)
for port in 8080 9090 9092 19092 50051 50052; do
    ! port_taken "$port" || skip "port $port is in use"
done

work=$(mktemp -d /var/tmp/cabstand-deploy.XXXXXX)
export KUBE_HOME=/var/lib/cabstand-kube
cluster=no
background=()
compose_up=no

in_background() {
    setsid "$@" >>"$log" 2>&1 &
    background+=($!)
}
end_background() {
    local pid
    for pid in "${background[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null || true; done
    background=()
}
diagnose() {
    if [ "$cluster" = yes ]; then
        kubectl get pods --all-namespaces -o wide || true
        kubectl -n ride get events --sort-by=.lastTimestamp | tail -n 15 || true
        for name in gateway driver trip kafka; do
            say "-- $name"
            kubectl -n ride logs "deployment/$name" --tail 8 || true
        done
    fi
    if [ "$compose_up" = yes ]; then compose ps -a && compose logs --tail 8; fi
    tail -n 15 "$log"
} >&2
clean_up() {
    local status=$?
    trap '' INT TERM
    end_background
    if [ "$keep" = yes ]; then
        say "Left running. Engine: DOCKER_HOST=${DOCKER_HOST:-}, cluster: KUBECONFIG=$KUBE_HOME/admin.conf"
        say "End them: KUBE_HOME=$KUBE_HOME ../shared/kube/down.sh; kill \$(cat $work/dockerd.pid); rm -rf $work deploy/prebuilt"
        exit "$status"
    fi
    [ "$cluster" = no ] || quietly "$shared/kube/down.sh" || true
    [ "$compose_up" = no ] || quietly compose --profile observe down -v --remove-orphans || true
    if [ -f "$work/dockerd.pid" ]; then
        local engine
        engine=$(cat "$work/dockerd.pid")
        kill "$engine" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "$engine" 2>/dev/null || break
            sleep 0.1
        done
    fi
    rm -rf --one-file-system "$work" deploy/prebuilt
    [ "$status" != 0 ] || ok "everything is stopped and removed"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- Engine and images ---------------------------------------------------------------------------------------------------

step "programs, engine, base images"
build_programs() {
    local program options="-c release --static-swift-stdlib"
    mkdir -p deploy/prebuilt
    for program in gateway driver trip simulator cabstand; do
        # shellcheck disable=SC2086
        swift build $options --product "$program" && strip -o "deploy/prebuilt/$program" "$(swift build $options --show-bin-path)/$program" ||
            return 1
    done
}
build_programs >"$work/build.log" 2>&1 &
building=$!

# An engine that is there already is used, with the base images that it has.
if ! docker info >/dev/null 2>&1; then
    export DOCKER_HOST=unix://$work/docker.sock
    setsid dockerd --host "$DOCKER_HOST" --data-root "$work/docker" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
        >"$work/dockerd.log" 2>&1 &
    for _ in $(seq 60); do
        docker info >/dev/null 2>&1 && break
        sleep 0.5
    done
    docker info >/dev/null 2>&1 || {
        tail -n 5 "$work/dockerd.log"
        kill "$building" 2>/dev/null || true
        skip "a Docker engine does not start on this machine"
    }
fi
compose() {
    "$tools/docker-compose" "$@"
}
# No registry is in reach: the names that the files use are given to images made of Debian packages.
runtime=(librdkafka1 libssl3 zlib1g libsqlite3-0)
stand_in_without_shell() {
    # What distroless' base-debian12 consists of: packages unpacked, nothing configured, no shell.
    local package
    mkdir "$work/base" && (cd "$work/base" && apt-get download base-files libc6 netbase tzdata libssl3) || return 1
    for package in "$work"/base/*.deb; do dpkg-deb -x "$package" "$work/base/root" || return 1; done
    tar -C "$work/base/root" --numeric-owner -c . |
        docker import -c 'ENV PATH=/usr/local/bin:/usr/bin:/bin' - gcr.io/distroless/base-debian12
}
stand_in_for_prometheus() {
    mkdir "$work/prometheus" && cp "$prometheus" "$work/prometheus/prometheus" || return 1
    docker build -t prom/prometheus:v3.5.0 -f - "$work/prometheus" <<'DOCKERFILE'
FROM debian:bookworm-slim
COPY prometheus /bin/prometheus
RUN mkdir /prometheus && chown 65534 /prometheus
USER 65534
ENTRYPOINT ["/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
DOCKERFILE
}
is_there() { docker image inspect "$1" >/dev/null 2>&1; }
make_base_images() {
    local name
    if ! is_there cabstand/load:1; then
        # One Debian for all: what the programs load, Java for Kafka, Python for the load.
        "$shared/kube/base-image.sh" cabstand/load:1 "${runtime[@]}" python3-aiohttp openjdk-17-jre-headless || return 1
    fi
    for name in debian:bookworm-slim swift:6.3-bookworm cabstand/jre:17; do
        is_there "$name" || docker tag cabstand/load:1 "$name" || return 1
    done
    is_there gcr.io/distroless/base-debian12 || stand_in_without_shell || return 1
    is_there prom/prometheus:v3.5.0 || stand_in_for_prometheus || return 1
    is_there apache/kafka:4.3.1 || "$shared/kafka/image.sh"
}
quietly make_base_images || {
    tail -n 10 "$log"
    kill "$building" 2>/dev/null || true
    skip "the base images can't be made of Debian packages here"
}
ok "an engine, and base images without a registry"
wait "$building" || {
    tail -n 20 "$work/build.log"
    fail "the release build"
}
ok "gateway, driver, trip, simulator and cabstand are built (release, static standard library)"

# ask URL: the body; a line in $work/client says what came back, or why nothing did.
ask() {
    local answer status=0
    answer=$(curl -sS --max-time 10 -w '\n%{http_code} after %{time_total} s' "$1" 2>"$work/curl") || status=$?
    say "$(date +%T) $1: curl $status, HTTP ${answer##*$'\n'}, ${#answer} bytes $(tr '\n' ' ' <"$work/curl")" >>"$work/client"
    say "${answer%$'\n'*}"
}
cars() { ask "$1/drivers/available?limit=1000" | jq '.drivers | length'; }
has_cars() {
    local count
    count=$(cars "$1")
    [ "${count:-0}" -ge "$2" ]
}

step "the image"
quietly docker build -f deploy/Dockerfile --build-arg BINARIES=prebuilt -t cabstand -t cabstand:dev . || fail "docker build"
quietly docker build -f deploy/Dockerfile --build-arg BINARIES=prebuilt --build-arg RUN_IMAGE=debian:bookworm-slim \
    --build-arg PUBLIC_OWNER=10001:10001 -t cabstand:tilt . || fail "docker build for Tilt"
ok "built, $(docker image inspect -f '{{.Size}}' cabstand | awk '{printf "%.0f MB", $1 / 1e6}')"
expect "it runs as nobody in particular" 10001:10001 "$(docker image inspect -f '{{.Config.User}}' cabstand)"
if quietly docker run --rm cabstand sh -c true; then fail "there is a shell in it"; fi
ok "there is no shell in it"
for program in gateway driver trip simulator cabstand; do
    docker run --rm cabstand "$program" --help | grep "^Usage: $program" >/dev/null || fail "$program --help in a container"
done
container=$(docker run -d --read-only --cap-drop ALL --security-opt no-new-privileges -v /data -p 127.0.0.1:8080:8080 \
    -e CABSTAND_SIMULATED_DRIVERS=20 -e CABSTAND_AUTH=required cabstand)
until_true 60 "cabstand in one container is healthy" docker exec "$container" cabstand --check
until_true 30 "20 cars" has_cars http://localhost:8080 20
ok "all in one container, root file system read-only: 20 cars"
quietly docker stop "$container"
expect "it ends by SIGTERM with 0" 0 "$(docker inspect -f '{{.State.ExitCode}}' "$container")"
quietly docker rm -v "$container"

# --- docker compose ------------------------------------------------------------------------------------------------------

step "docker compose"
compose_up=yes
ride='{"pickup":{"lat":53.5572,"lon":13.2615},"dropoff":{"lat":53.5453,"lon":13.2945}}'
# By this the requests below are an operator's.
operator=
authorized() { curl -s --max-time 10 -H "authorization: Bearer $operator" "$@"; }
# book BASE: the trip's id, booked by a new guest
book() {
    local guest
    guest=$(curl -s --max-time 10 -X POST "$1/auth/guest" | jq -r .access_token)
    curl -s --max-time 10 "$1/trips" -H "authorization: Bearer $guest" -H 'content-type: application/json' -d "$ride" | jq -r '.id // .code'
}
# Whether a gateway is ready: before, it may not know yet what was revoked, and refuses tokens.
is_ready() { [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$1/readyz")" = 200 ]; }
knows_trip() { [ "$(authorized "$1/trips/$2" | jq -r .id)" = "$2" ]; }
# created BROKER TRIP: whether its TripCreated is in Kafka
created() { timeout 20 kcat -b "$1" -C -t trip_events -o beginning -e -q | jq -e -s --arg id "$2" 'any(.type == "TripCreated" and .trip.id == $id)'; }

quietly compose up -d kafka || fail "docker compose up -d kafka"
# A gateway that starts without it takes no token of its first half minute: it can't know yet what was revoked.
until_true 120 "compose's Kafka answers" timeout 10 kcat -b localhost:9092 -L
mkdir "$work/key" "$work/services"
deploy/prebuilt/gateway make-keys "$work/key" "$work/services" || fail "gateway make-keys"
export CABSTAND_AUTH=required CABSTAND_AUTH_KEY=$work/services/key.pub.pem CABSTAND_SERVICE_SECRET=$work/services/service-secret
(
    export CABSTAND_KAFKA_BOOTSTRAP_SERVERS=localhost:9092 CABSTAND_BIND=127.0.0.1
    CABSTAND_DATABASE_URL=sqlite:$work/driver.db CABSTAND_SIMULATED_DRIVERS=20 exec setsid deploy/prebuilt/driver >>"$log" 2>&1
) &
background+=($!)
(
    export CABSTAND_KAFKA_BOOTSTRAP_SERVERS=localhost:9092 CABSTAND_BIND=127.0.0.1
    CABSTAND_DATABASE_URL=sqlite:$work/trip.db exec setsid deploy/prebuilt/trip >>"$log" 2>&1
) &
background+=($!)
(
    export CABSTAND_KAFKA_BOOTSTRAP_SERVERS=localhost:9092 CABSTAND_BIND=127.0.0.1
    CABSTAND_AUTH_KEY=$work/key/key.pem exec setsid deploy/prebuilt/gateway >>"$log" 2>&1
) &
background+=($!)
until_true 90 "services from a shell with compose's Kafka have cars" has_cars http://127.0.0.1:8080 20
until_true 60 "the gateway from a shell is ready" is_ready http://127.0.0.1:8080
operator=$(CABSTAND_AUTH_KEY=$work/key/key.pem deploy/prebuilt/gateway token --role operator --subject deploy --ttl 1h)
unset CABSTAND_AUTH CABSTAND_AUTH_KEY CABSTAND_SERVICE_SECRET
trip=$(book http://127.0.0.1:8080)
until_true 30 "the booking is in compose's Kafka" created localhost:9092 "$trip"
# The services in containers start with databases of their own; a trip that they do not know would hold its car for a minute.
quietly authorized -X POST "127.0.0.1:8080/trips/$trip/cancel"
ok "docker compose up -d kafka: services from a shell connect to localhost:9092, and a booking is there"
pids=("${background[@]}")
for pid in "${pids[@]}"; do kill -TERM "$pid"; done
for pid in "${pids[@]}"; do wait "$pid" || fail "a service did not end with 0"; done
background=()
ok "they end by SIGTERM with 0"

quietly compose up --wait || fail "docker compose up --wait"
until_true 60 "compose has 200 cars" has_cars http://localhost:8080 200
ok "docker compose up --wait: 200 cars"
expect "the page is there" 200 "$(curl -s -o /dev/null -w '%{http_code}' localhost:8080/)"
trip=$(book http://localhost:8080)
operator=$(docker exec cabstand-gateway-1 gateway token --role operator --subject deploy --ttl 1h)
expect "without a token there are no trips" 401 "$(curl -s -o /dev/null -w '%{http_code}' "localhost:8080/trips/$trip")"
until_true 30 "the booking is in Kafka" created localhost:9092 "$trip"
ok "a booking, and its event in Kafka"
quietly compose stop
for service in gateway driver trip; do
    expect "$service ends with 0" 0 "$(docker inspect -f '{{.State.ExitCode}}' "cabstand-$service-1")"
done
quietly compose down
quietly compose up --wait || fail "docker compose up --wait, the second time"
expect "after down and up the trip is there" "$trip" "$(authorized "localhost:8080/trips/$trip" | jq -r .id)"
# Grafana's image is not to be had; Prometheus is Debian's, under the image's name.
quietly compose --profile observe config -q || fail "the profile for Prometheus and Grafana"
quietly compose --profile observe up -d --no-deps prometheus || fail "docker compose --profile observe up -d prometheus"
prometheus_says() { [ "$(curl -s "localhost:9090/api/v1/query" --data-urlencode "query=$1" | jq -r '.data.result[0].value[1]')" = "$2" ]; }
until_true 60 "Prometheus reaches all three" prometheus_says 'count(cabstand_ready == 1)' 3
expect "Prometheus in compose scrapes gateway, driver and trip, and has rules without an error" true \
    "$(curl -s localhost:9090/api/v1/rules | jq '[.data.groups[].rules[]] | length > 10 and all(.health != "err")')"
quietly compose --profile observe down -v
compose_up=no

# --- Kubernetes ----------------------------------------------------------------------------------------------------------

step "Kubernetes"
cluster=yes
quietly "$shared/kube/up.sh" || {
    tail -n 10 "$log"
    skip "a cluster does not start on this machine"
}
export KUBECONFIG=$KUBE_HOME/admin.conf PATH=$KUBE_HOME/bin:$PATH
ok "a cluster runs"
quietly "$shared/kube/load-image.sh" cabstand:dev cabstand:tilt cabstand/load:1 apache/kafka:4.3.1 || fail "loading the images"
# Minikube makes the folders of volumes writable for everybody; the provisioner here makes them root's.
(while sleep 0.2; do chmod 777 "$KUBE_HOME"/volumes/* 2>/dev/null || true; done) &
opener=$!
background+=("$opener")
quietly kubectl create namespace ride
quietly kubectl label namespace ride pod-security.kubernetes.io/enforce=restricted
quietly kubectl config set-context --current --namespace ride
rolled_out() {
    local name
    for name in kafka driver trip gateway; do
        quietly kubectl rollout status --timeout "${1:-120s}" "deployment/$name" || fail "deployment/$name: $2"
    done
}
deploy/secrets.sh | quietly kubectl apply -f - || fail "deploy/secrets.sh"
quietly kubectl apply -k deploy/overlays/minikube || fail "kubectl apply -k deploy/overlays/minikube"
rolled_out 180s "first rollout"
ok "deploy/secrets.sh and kubectl apply -k deploy/overlays/minikube, under the restricted Pod Security Standard"
operator=$(kubectl exec deployment/gateway -- gateway token --role operator --subject deploy --ttl 2h)
export CABSTAND_TOKEN=$operator

# Production: Kafka's address comes from a secret. Its broker is the one above, by the name that it gives to its clients.
quietly docker tag cabstand registry.example.org/cabstand:1
quietly "$shared/kube/load-image.sh" registry.example.org/cabstand:1 || fail "loading the image of production"
quietly kubectl create namespace production
quietly kubectl label namespace production pod-security.kubernetes.io/enforce=restricted
quietly kubectl -n production create service externalname kafka --external-name kafka.ride.svc.cluster.local
quietly kubectl -n production create secret generic cabstand-kafka --from-literal=CABSTAND_KAFKA_BOOTSTRAP_SERVERS=kafka:9092
deploy/secrets.sh | quietly kubectl -n production apply -f - || fail "deploy/secrets.sh in production"
quietly kubectl -n production apply -k deploy/overlays/production || fail "kubectl apply -k deploy/overlays/production"
for name in driver trip gateway; do
    quietly kubectl -n production rollout status --timeout 120s "deployment/$name" || fail "production: deployment/$name"
done
ok "kubectl apply -k deploy/overlays/production, with Kafka's address from a secret"
quietly kubectl delete namespace production --wait=false

"$python" Tests/Deploy/tiltfile.py "$(command -v kubectl)" || fail "the Tiltfile"
ok "the Tiltfile, by a Starlark interpreter (not by Tilt)"

forward() {
    in_background kubectl port-forward "$1" "$2"
    forwarder=${background[-1]}
    until_true 20 "port-forward $1" port_taken "$2"
}
# forward_until SECONDS WHAT SERVICE PORT COMMAND…: a port-forward chooses one pod when it starts and keeps to it, also to one
# whose sandbox is gone; so each attempt has a new one.
forward_until() {
    local end=$((SECONDS + $1)) what=$2 service=$3 port=$4 attempt
    shift 4
    while true; do
        in_background kubectl port-forward "$service" "$port"
        forwarder=${background[-1]}
        for attempt in $(seq 20); do
            if port_taken "$port" && "$@" >>"$log" 2>&1; then return 0; fi
            kill -0 "$forwarder" 2>/dev/null || break
            [ "$SECONDS" -lt "$end" ] || fail "$what: not within the time"
            sleep 0.5
        done
        say "        $(date +%T) another port-forward: $(tail -n 1 "$work/client" 2>/dev/null)"
        kill -TERM -- "-$forwarder" 2>/dev/null || true
        wait "$forwarder" 2>/dev/null || true
        [ "$SECONDS" -lt "$end" ] || fail "$what: not within the time"
        sleep 0.5
    done
}
forward svc/kafka 19092
kafka_forwarder=$forwarder
forward svc/gateway 8080
until_true 60 "200 cars through the tunnel" has_cars http://localhost:8080 200
mkfifo "$work/open"
in_background sh -c "sleep 600 >'$work/open'"
setsid node "$tools/wscat/node_modules/wscat/bin/wscat" -c "ws://localhost:8080/ws/drivers/available?lat=53.5572&lon=13.2615&limit=3&interval_ms=500" \
    <"$work/open" >"$work/wscat" 2>&1 &
wscat=$!
background+=("$wscat")
trip=$(book http://localhost:8080)
expect "a booking by curl through kubectl port-forward" in_progress "$(authorized "localhost:8080/trips/$trip" | jq -r .status)"
until_true 30 "the booking is in the cluster's Kafka" created localhost:19092 "$trip"
ok "its event by kcat through kubectl port-forward svc/kafka 19092"
quietly authorized -X POST "localhost:8080/trips/$trip/cancel"
"$python" Tests/Deploy/tunnel.py 8080 || fail "the tunnel"
if "$python" -c 'import playwright' 2>/dev/null && command -v chromium >/dev/null; then
    until_true 60 "200 free cars" has_cars http://localhost:8080 200
    "$python" Tests/EndToEndTests/browser/ride.py http://localhost:8080 200 >>"$log" 2>&1 || fail "the page in a browser"
    ok "a ride on the page in headless Chromium, through the tunnel"
else
    say "skipped: the page in a browser (playwright or chromium is missing)"
fi
kill -0 "$wscat" 2>/dev/null || fail "wscat ended"
before=$(wc -l <"$work/wscat")
sleep 3
[ "$(wc -l <"$work/wscat")" -gt "$before" ] || fail "wscat gets no more lists"
ok "wscat stayed open over all this: $(wc -l <"$work/wscat") lists"
button=$("$python" Tests/Deploy/tiltfile.py "$(command -v kubectl)" --button)
expect "the Tiltfile's button books" in_progress "$(sh -c "$button" | jq -r .status)"
kill -TERM -- "-$forwarder" "-$kafka_forwarder" "-$wscat" 2>/dev/null || true

# --- Life in a cluster ---------------------------------------------------------------------------------------------------

step "life in a cluster"
quietly kubectl create namespace load
load() {
    quietly kubectl -n load delete --ignore-not-found --now pod/load configmap/load
    quietly kubectl -n load create configmap load --from-file=Tests/Deploy/load.py
    # The image's Python has aiohttp; the riders reach the gateway by the cluster's DNS and its Service.
    quietly kubectl -n load apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: load}
spec:
  restartPolicy: Never
  containers:
    - name: load
      image: cabstand/load:1
      command: [python3, /scripts/load.py, "http://gateway.ride.svc.cluster.local:8080", "${1:-}"]
      env: [{name: TOKEN, value: "$operator"}]
      volumeMounts: [{name: scripts, mountPath: /scripts}]
  volumes: [{name: scripts, configMap: {name: load}}]
YAML
    until_true 60 "the load runs" sh -c "kubectl -n load logs load | grep -q ready"
}
# end_load WHAT: stops the load, judges its summary (kept in $work/summary).
end_load() {
    quietly kubectl -n load exec load -- touch /tmp/stop
    until_true 150 "the load ends" sh -c "kubectl -n load get pod load -o jsonpath='{.status.phase}' | grep -qE 'Succeeded|Failed'"
    kubectl -n load logs load | tail -n 1 >"$work/summary"
    jq -e . "$work/summary" >/dev/null || fail "$1: $(kubectl -n load logs load | tail -n 5)"
    say "        $(jq -c 'del(.trips, .failures)' "$work/summary")"
    [ "$(jq '.wrong | length' "$work/summary")" = 0 ] || fail "$1: $(jq -c '.wrong, .failures' "$work/summary")"
    ok "$1"
}
# every_event BROKER: each trip acknowledged by the last load is announced.
every_event() {
    timeout 60 kcat -b "$1" -C -t trip_events -o beginning -e -q | jq -r 'select(.type == "TripCreated") | .trip.id' | sort -u >"$work/announced"
    [ -z "$(jq -r '.trips[]' "$work/summary" | sort -u | comm -23 - "$work/announced")" ]
}
# The exit status of every container that ends.
in_background sh -c "kubectl get pods -w --output-watch-events -o json |
    jq -r --unbuffered '.object | .metadata.name as \$n | (.status.containerStatuses // [])[] | select(.state.terminated) | \"\(\$n) \(.state.terminated.exitCode)\"' >'$work/exits'"

quietly kubectl scale deployment/gateway --replicas 2
# The load is far more than one operator may ask.
quietly kubectl set env deployment/gateway CABSTAND_RATE_LIMIT=off
rolled_out 90s "two gateways"
load --strict
sleep 5
quietly kubectl rollout restart deployment/gateway
rolled_out 120s "restart under load"
# The old ones end meanwhile: preStop, the drain delay and the spread of the goodbyes.
until_true 60 "the old gateways are gone" sh -c "[ \$(kubectl get pods -l app=gateway --no-headers | wc -l) = 2 ]"
sleep 3
end_load "kubectl rollout restart deployment/gateway under load: no request failed, every WebSocket closed 1001"
[ "$(jq '.closes["1001"] // 0' "$work/summary")" -ge 50 ] || fail "the WebSockets did not move"
[ "$(jq '.closed_1001_over_s' "$work/summary" | cut -d. -f1)" -ge 1 ] || fail "the goodbyes are not spread"

load
sleep 3
for name in trip driver kafka gateway; do
    quietly kubectl delete pod -l "app=$name"
    rolled_out 120s "after kubectl delete pod of $name"
    sleep 4
done
end_load "kubectl delete pod of trip, driver, kafka and both gateways under load: nothing acknowledged is lost, every map is right"
forward svc/kafka 19092
until_true 60 "every acknowledged trip is in Kafka" every_event localhost:19092
ok "every acknowledged trip is announced in Kafka"
kill -TERM -- "-$forwarder" 2>/dev/null || true
bad=$(sort -u "$work/exits" | grep -v '^kafka' | grep -v ' 0$' || true)
[ -s "$work/exits" ] || fail "no container was seen to end"
[ -z "$bad" ] || fail "ended by SIGTERM with another status than 0: $bad"
ok "SIGTERM within the grace period: $(sort -u "$work/exits" | grep -c ' 0$') containers ended with 0"

trip=$(jq -r '.trips[-1]' "$work/summary")
# container_ids: of everything that runs here, as the API server believes.
container_ids() { kubectl get pods -o json | jq -r '.items[].status.containerStatuses[]?.containerID' | sort; }
# Whether five pods are ready and none of their containers is one of those that were killed: right after the start, the API
# server still shows every pod as it was before, ready and running.
is_reborn() {
    kubectl get pods -o json | jq -r '.items[].status.containerStatuses[]? | select(.ready) | .containerID' | sort >"$work/ready"
    [ "$(wc -l <"$work/ready")" -ge 5 ] && [ -z "$(comm -12 "$work/killed" "$work/ready")" ]
}
container_ids >"$work/killed"
# The power goes: every container, the kubelet and containerd at once, nothing may say goodbye.
for pid in $(cut -d' ' -f1 "$KUBE_HOME"/run/{kubelet,containerd}.pid) \
    $(ctr --address "$KUBE_HOME/run/containerd.sock" -n k8s.io tasks ls | awk 'NR > 1 { print $2 }'); do
    kill -KILL "$pid" 2>/dev/null || true
done
quietly "$shared/kube/down.sh" --keep || fail "clearing away the dead node"
quietly "$shared/kube/up.sh" || fail "starting the node again"
until_true 120 "the node has its pods again" is_reborn
rolled_out 120s "after the node was killed"
forward_until 90 "cars after the node was killed" svc/gateway 8080 has_cars http://localhost:8080 200
until_true 90 "a killed node's volume kept the trip" knows_trip localhost:8080 "$trip"
ok "a killed node's volume kept the trip"
load
sleep 3
end_load "after the node was killed: bookings, lists and maps are right"
kill -TERM -- "-$forwarder" 2>/dev/null || true

# --- Tilt's live update --------------------------------------------------------------------------------------------------

step "Tilt's live update"
kubectl kustomize deploy/overlays/tilt | sed 's/cabstand:dev/cabstand:tilt/' | quietly kubectl apply -f - || fail "deploy/overlays/tilt"
quietly kubectl scale deployment/gateway --replicas 1
rolled_out 120s "the overlay for Tilt"
until_true 60 "one gateway" sh -c "[ \$(kubectl get pods -l app=gateway --no-headers | wc -l) = 1 ]"
forward svc/gateway 8080
mkdir -p "$work/page/public"
sed 's/<title>[^<]*/<title>Saved a moment ago/' public/index.html >"$work/page/public/index.html"
# As Tilt does it: tar on the developer's machine into tar in the container, as the container's user.
tar -C "$work/page" -c public/index.html | kubectl exec -i deployment/gateway -- tar -C / -x -f - 2>>"$log" || fail "tar into the container"
until_true 10 "the saved page is served" sh -c "curl -s localhost:8080/ | grep -q 'Saved a moment ago'"
ok "a file saved in public/ is served by the running container"

say ""
say "All deploy tests passed in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s."
