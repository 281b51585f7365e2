#!/usr/bin/env bash
# Builds Cabstand and runs all of it on this machine: page, REST, WebSocket, both gRPC services, an embedded Kafka broker
# and simulated drivers. Ctrl-C ends it.
#   deploy/run-local.sh           asks before it uses sudo; starts with no data
#   deploy/run-local.sh -y        does not ask
#   deploy/run-local.sh --keep    goes on with the data of the last run (.build/local)
# The settings are environment variables: CABSTAND_HTTP_PORT=8081 deploy/run-local.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

install=ask
keep=no
for option; do
    case $option in
    -y | --yes) install=yes ;;
    --keep) keep=yes ;;
    -h | --help)
        sed -n '2,7s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "$option is not an option; deploy/run-local.sh --help lists them." ;;
    esac
done

http_port=${CABSTAND_HTTP_PORT:-8080}
driver_service=${CABSTAND_DRIVER_SERVICE:-127.0.0.1:50051}
trip_service=${CABSTAND_TRIP_SERVICE:-127.0.0.1:50052}
driver_port=${driver_service##*:}
trip_port=${trip_service##*:}

# Shows the build's progress on one line; everything is in the log.
progress() {
    local line
    while IFS= read -r line; do
        if [ -t 1 ] && [[ $line =~ ^\[([0-9]+/[0-9]+)\] ]]; then printf '\r%s  ' "${BASH_REMATCH[1]}"; fi
    done
    if [ -t 1 ]; then printf '\r          \r'; fi
}

compose() {
    if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi
}

run_in_docker() {
    say "No Swift on the PATH, but Docker: building and running in containers. The first build takes about ten minutes."
    CABSTAND_HTTP_PORT=$http_port compose up --build --wait
    token=$(compose exec -T gateway gateway token --role operator --subject run-local --ttl 12h)
    print_addresses localhost:9092
    say "Logs: docker compose logs -f    End: docker compose down (with -v also the data)"
}

# print_addresses KAFKA: what can be tried now.
print_addresses() {
    local base=127.0.0.1:$http_port who=''
    if [ -n "$token" ]; then
        who=' -H "authorization: Bearer $TOKEN"'
        cat <<END

  For 12 hours this is an operator; it goes into \$TOKEN of the lines below:

TOKEN=$token
END
    fi
    cat <<END

  Page      http://localhost:$http_port
  REST      curl -s 'http://$base/drivers/available?lat=53.5572&lon=13.2615&limit=3'
            curl -s$who 'http://$base/trips?page_size=3'
            curl -s$who -H 'content-type: application/json' http://$base/trips -d '{"rider_id":"me","pickup":{"lat":53.5572,"lon":13.2615},"dropoff":{"lat":53.5453,"lon":13.2945}}'
  Live      wscat -c 'ws://$base/ws/drivers/available?lat=53.5572&lon=13.2615&limit=3&interval_ms=1000'
  gRPC      grpcurl -plaintext$who -d '{"lat":53.5572,"lon":13.2615,"limit":3}' 127.0.0.1:$driver_port driver.v1.DriverService/FindAvailableDrivers
            grpcurl -plaintext$who -d '{"status":"TRIP_STATUS_IN_PROGRESS"}' 127.0.0.1:$trip_port trip.v1.TripService/ListTrips
  Kafka     kcat -b $1 -C -t trip_events -o beginning
            kcat -b $1 -C -t driver_locations -o end
  Metrics   curl -s http://$base/metrics

END
}

if ! command -v swift >/dev/null && command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    run_in_docker
    exit 0
fi
need_swift

# A taken port is said at once, before a build of minutes.
check_port() {
    ! port_taken "$1" || die "Port $1 is in use. Choose another one with $2, for example:  $2=$3 deploy/run-local.sh"
}
check_port "$http_port" CABSTAND_HTTP_PORT $((http_port + 1))
check_port "$driver_port" CABSTAND_DRIVER_SERVICE 127.0.0.1:$((driver_port + 100))
check_port "$trip_port" CABSTAND_TRIP_SERVICE 127.0.0.1:$((trip_port + 100))

install_packages "$install" "${BUILD_PACKAGES[@]}"

if [ -x .build/release/cabstand ]; then
    say "Building (release): seconds if little has changed, else up to five minutes."
else
    say "Building (release): about five minutes on two cores, the first time."
fi
started=$SECONDS
mkdir -p .build
swift build -c release --product cabstand 2>&1 | tee .build/local-build.log | progress ||
    {
        grep -E 'error:' .build/local-build.log >&2 || tail -n 30 .build/local-build.log >&2
        die "The build failed; the whole log is .build/local-build.log."
    }
say "Built in $((SECONDS - started)) s."

[ "$keep" = yes ] || rm -rf .build/local
mkdir -p .build/local
log=.build/local/cabstand.log
: >"$log"

export CABSTAND_BIND=${CABSTAND_BIND:-127.0.0.1} CABSTAND_HTTP_PORT=$http_port
export CABSTAND_DRIVER_SERVICE=$driver_service CABSTAND_TRIP_SERVICE=$trip_service
export CABSTAND_DATABASE_URL=${CABSTAND_DATABASE_URL:-sqlite:.build/local/data}
export CABSTAND_PUBLIC_DIR=${CABSTAND_PUBLIC_DIR:-public}
export CABSTAND_SIMULATED_DRIVERS=${CABSTAND_SIMULATED_DRIVERS:-200}
export CABSTAND_AUTH=${CABSTAND_AUTH:-required}

.build/release/cabstand >>"$log" 2>&1 &
program=$!
# A script's background program does not hear Ctrl-C: it is told to end. A second Ctrl-C ends it at once.
trap 'kill -TERM "$program" 2>/dev/null || true' INT TERM HUP

ready() {
    (exec 3<>"/dev/tcp/127.0.0.1/$http_port" && printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3 &&
        head -n 1 <&3 | grep -q ' 200 ') 2>/dev/null
}
for _ in $(seq 300); do
    ready && break
    kill -0 "$program" 2>/dev/null || break
    sleep 0.2
done
if ! kill -0 "$program" 2>/dev/null || ! ready; then
    kill -TERM "$program" 2>/dev/null || true
    tail -n 20 "$log" >&2
    die "Cabstand did not start; the whole log is $log."
fi

kafka=${CABSTAND_KAFKA_BOOTSTRAP_SERVERS:-$(grep -i broker "$log" | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1 || true)}
say "Cabstand is running with $CABSTAND_SIMULATED_DRIVERS simulated drivers."
token=
[ "$CABSTAND_AUTH" = off ] || token=$(.build/release/cabstand token --role operator --subject run-local --ttl 12h)
print_addresses "${kafka:-127.0.0.1:9092}"
say "Its log is $log. Ctrl-C ends it; --keep goes on with the data next time."

status=0
wait "$program" || status=$?
# A signal interrupts the waiting: the program's own status comes when it has ended.
while kill -0 "$program" 2>/dev/null; do
    status=0
    wait "$program" || status=$?
done
[ "$status" = 0 ] || tail -n 20 "$log" >&2
say "Ended."
exit "$status"
