#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# From a fresh Debian 12 to a running service, and a first container with it.
#
#   tools/quickstart.sh         install into .venv, start the service, show the main job
#   tools/quickstart.sh stop    end exactly what it started
#
# Root, or a user who may use sudo; needs python3, and apt-get for what is missing. The service
# listens on 127.0.0.1:9517 only. Running it again is harmless.

set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ENDPOINT=http://127.0.0.1:9517
STATE=${XDG_STATE_HOME:-$HOME/.local/state}/container-service/quickstart
# Not plain `busybox`: that name would hide the real one.
LOCAL_IMAGE=container-service/busybox:latest

answers() {
    "$VENV/bin/python" - "$ENDPOINT/" <<'PY'
import sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    body = opener.open(sys.argv[1], timeout=5).read()
except urllib.error.HTTPError as exc:  # a version document may come as 300
    body = exc.read()
sys.exit(b'"versions"' not in body)
PY
}

start_docker() {
    # The engine is ours to end only if it was not there before this run or an earlier one.
    local ours=no
    "$SERVICES" pid docker >/dev/null || ours=maybe
    "$SERVICES" start docker
    if [ "$ours" = maybe ] && "$SERVICES" pid docker >/dev/null; then
        : >"$STATE/docker-is-ours"
    fi
    export DOCKER_HOST=unix://${CS_DOCKER_SOCKET:-/var/run/docker.sock}
}

choose_image() {
    for IMAGE in busybox:latest "$LOCAL_IMAGE"; do
        ! docker image inspect "$IMAGE" >/dev/null 2>&1 || return 0
    done
    say 'looking for an image registry (15 s)'
    IMAGE=busybox:latest
    ! timeout 15 docker pull -q "$IMAGE" >/dev/null 2>&1 || return 0
    say 'no registry can be reached: building an image from the package busybox-static'
    IMAGE=$LOCAL_IMAGE
    import_busybox "$IMAGE" "$STATE"
}

start_service() {
    if answers 2>/dev/null; then
        if pid_of "$STATE/pid" >/dev/null; then
            say "the service is running already, pid $(pid_of "$STATE/pid")"
        else
            say "a service that this script did not start answers on $ENDPOINT: using that one"
        fi
        return
    fi
    ! port_open 9517 || die 'port 9517 is taken by something else; end that first'
    spawn "$STATE/pid" "$STATE/log" "$VENV/bin/container-service-standalone"
    local deadline=$((SECONDS + 60))
    until answers 2>/dev/null; do
        if ! pid_of "$STATE/pid" >/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            say "--- last lines of $STATE/log"
            tail -n 30 "$STATE/log" >&2
            end_process "$STATE/pid" 10
            die "the service did not start; the whole log is in $STATE/log"
        fi
        sleep 0.3
    done
    say "started container-service-standalone, pid $(pid_of "$STATE/pid"), log $STATE/log"
}

show() { # COMMAND...: print it as one would type it, then run it
    local word line=
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_./:=@%+,-]*) line="$line '${word//\'/\'\\\'\'}'" ;;
            *) line="$line $word" ;;
        esac
    done
    printf '\n$%s\n' "$line"
    "$@"
}

demonstrate() {
    local name
    # New each time, so that a run that was cut short is not in the way.
    name=hello-$(od -An -N3 -tx1 /dev/urandom | tr -d " ")
    DEMO=$name
    # The first process of a container ignores SIGTERM unless it asks for it; without the trap
    # `stop` would take its full ten seconds.
    show container-service create --name "$name" --poll "$IMAGE" \
        sh -c 'trap "exit 0" TERM; echo "Hello from a container"; while true; do sleep 1; done'
    show container-service list
    show container-service start "$name" --poll
    show container-service logs "$name"
    show container-service exec "$name" uname -a
    show docker ps -a --no-trunc --format 'table {{.Names}}\t{{.Image}}\t{{.Status}}'
    show container-service stop "$name" --poll
    show container-service delete "$name" --poll
    show container-service list
    DEMO=
}

demo_failed() {
    trap - EXIT
    say
    say "quickstart.sh: that did not work. The service's log is in $STATE/log; its last lines:"
    tail -n 15 "$STATE/log" >&2 || true
    [ -z "${DEMO:-}" ] || container-service delete "$DEMO" --force >/dev/null 2>&1 || true
}

start() {
    mkdir -p "$STATE"
    step 'Python environment'
    # shellcheck disable=SC2119
    ensure_venv
    # The command line client is to find this service, whatever cloud or proxy the user works with.
    local name
    for name in ${!OS_@}; do unset "$name"; done
    export CONTAINER_SERVICE_ENDPOINT=$ENDPOINT NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
    export PATH=$VENV/bin:$PATH
    step 'Docker Engine'
    start_docker
    choose_image
    step 'the service'
    start_service
    step 'a container, from create to delete'
    trap demo_failed EXIT
    demonstrate
    trap - EXIT
    cat <<TEXT

The service is running on $ENDPOINT. Try next:

  . $VENV/bin/activate
  container-service run --name web --poll $IMAGE httpd -f -p 8080
  container-service list
  container-service action list          # what was asked for, and what came of it
  container-service delete web --stop --poll
  curl $ENDPOINT/
  $REPO/tools/quickstart.sh stop
TEXT
}

stop() {
    if pid_of "$STATE/pid" >/dev/null; then
        # It finishes what it is running first, hence the patience.
        end_process "$STATE/pid" 100
        say 'the service has ended'
    else
        rm -f "$STATE/pid"
        say 'no service is running that this script started'
    fi
    if [ -e "$STATE/docker-is-ours" ]; then
        "$SERVICES" stop docker
        rm -f "$STATE/docker-is-ours"
        say 'the Docker Engine has ended'
    fi
}

case ${1:-start} in
    start) start ;;
    stop) stop ;;
    *)
        sed -n '/^#   tools/,/^$/p' "${BASH_SOURCE[0]}" | sed -n -e '/^[^#]/q' -e 's/^# \{0,1\}//p'
        [ "${1:-}" = --help ] || [ "${1:-}" = -h ] ;;
esac
