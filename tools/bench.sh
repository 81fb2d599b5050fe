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

WORK=$(mktemp -d)

clean_up() {
    local status=$?
    trap - EXIT
    set +e
    # It ends its daemons, and removes its containers, database and virtual host.
    end_job
    stop_services
    rm -rf "$WORK"
    exit "$status"
}

main() {
    begin_run clean_up
    ensure_venv bench/requirements.txt
    case " $* " in
        *' --help '*|*' -h '*) "$VENV/bin/python" -m bench --help; return ;;
    esac
    start_services docker rabbitmq mariadb
    provide_image "$WORK"
    step 'measuring'
    run_job "$VENV/bin/python" -m bench "$@"
}

main "$@"
