#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Breaks a deployment on purpose and checks that nothing was lost, done twice or left stuck;
# faults/README.rst says how.
#
#   tools/faults.sh [OPTION...]    see tools/faults.sh --help
#
# Docker is only borrowed; broker and databases are started for this run and ended with it.

set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"

# Its daemons run as users of their own, who must be able to enter.
WORK=$(mktemp -d)
chmod 755 "$WORK"
OWN=(rabbitmq mariadb postgresql)

own_services() { CONTAINER_SERVICE_SERVICES_DIR=$WORK/services "$SERVICES" "$@"; }

clean_up() {
    local status=$?
    trap - EXIT
    set +e
    end_job
    [ ! -d "$WORK/services" ] || own_services stop "${OWN[@]}"
    stop_services
    as_root rm -rf "$WORK"
    exit "$status"
}

main() {
    begin_run clean_up
    ensure_venv
    case " $* " in
        *' --help '*|*' -h '*|*' --list '*) "$VENV/bin/python" -m faults "$@"; return ;;
    esac
    # For the clocks that are wrong.
    have cc || apt_install gcc libc6-dev
    start_services docker
    provide_image "$WORK"
    own_services start "${OWN[@]}" || die 'broker and databases cannot be started (see above)'
    local exports
    exports=$(own_services env)
    eval "$exports"
    export CS_FAULTS_OWN_SERVICES=1
    step 'doing harm'
    run_job "$VENV/bin/python" -m faults "$@"
}

main "$@"
