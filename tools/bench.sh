#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures what the service costs above its floor, in one run and as ratios; bench/README.rst says
# what is compared with what.
#
#   tools/bench.sh [OPTION...]     see tools/bench.sh --help
#
#   KEEP_SERVICES=1                leave services running that this run started

set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"

SERVICES=$REPO/tools/services.sh
VENV=$REPO/.venv
WORK=$(mktemp -d)
STARTED=()
PID=

start_services() {
    local name exports
    step 'starting services'
    for name in docker rabbitmq mariadb; do
        # Only what was not there before is ours to end.
        "$SERVICES" pid "$name" >/dev/null || STARTED+=("$name")
        "$SERVICES" start "$name" || die "the benchmark needs $name, and it cannot be started (see above)"
    done
    exports=$("$SERVICES" env)
    eval "$exports"
    # The engine that is measured, whatever the user's environment prefers.
    export DOCKER_HOST=$CS_TEST_DOCKER CS_TEST_IMAGE=cs-test/busybox:latest
    if ! docker image inspect "$CS_TEST_IMAGE" >/dev/null 2>&1; then
        say "building $CS_TEST_IMAGE"
        import_busybox "$CS_TEST_IMAGE" "$WORK"
    fi
}

clean_up() {
    local status=$?
    trap - EXIT
    set +e
    # It ends its daemons, and removes its containers, database and virtual host.
    [ -z "$PID" ] || { kill "$PID" 2>/dev/null && wait "$PID"; }
    if [ -z "${KEEP_SERVICES:-}" ] && [ "${#STARTED[@]}" -gt 0 ]; then
        "$SERVICES" stop "${STARTED[@]}"
    fi
    rm -rf "$WORK"
    exit "$status"
}

main() {
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # What a user has set for a cloud, or a proxy for the world, is not meant for this.
    local name
    for name in ${!OS_@} ${!CONTAINER_SERVICE_@}; do
        [ "$name" = CONTAINER_SERVICE_SERVICES_DIR ] || unset "$name"
    done
    export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost LC_ALL=C.UTF-8

    ensure_venv bench/requirements.txt
    case " $* " in
        *' --help '*|*' -h '*) "$VENV/bin/python" -m bench --help; return ;;
    esac
    start_services
    step 'measuring'
    # In the background, so that a signal is ours at once; Ctrl-C does not reach it then.
    "$VENV/bin/python" -m bench "$@" </dev/null &
    PID=$!
    local status=0
    wait "$PID" || status=$?
    PID=
    return "$status"
}

main "$@"
