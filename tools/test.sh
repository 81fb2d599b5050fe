#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs and starts what the tests need, runs them, and ends with the line `N passed, N failed`.
#
#   tools/test.sh                          everything
#   tools/test.sh style|unit|functional|faults...  these parts only
#   tools/test.sh [PART...] REGEX          only the tests whose names match (without PART: unit, functional)
#
#   --strict                 run nothing again; otherwise functional tests and fault scenarios that
#                            fail are run once more, and told as `unsteady` if they pass then
#
#   KEEP_SERVICES=1          leave services running that this run started; the next one is faster
#   CS_TEST_CONCURRENCY=N    workers of the functional tests (default 2; they mostly wait)
#
# What the tests find in their environment:
#
#   CS_TEST_DOCKER          unix:///var/run/docker.sock
#   CS_TEST_IMAGE           cs-test/busybox:latest, in the engine and, under the same name, in the registry
#   CS_TEST_REGISTRY        127.0.0.1:PORT; has cs-test/layers:latest too: four layers, 15 MB, not in the engine
#   CS_TEST_TRANSPORT_URL   rabbit://..., a virtual host of this run's own
#   CS_TEST_RABBITMQCTL     the command line of a rabbitmqctl for that broker
#   CS_TEST_MYSQL_URL       an account that may create databases; append a name that begins with
#   CS_TEST_POSTGRESQL_URL  CS_TEST_DATABASE_PREFIX, and whatever is left over is dropped at the end
#   CS_TEST_SERVICES        tools/services.sh: `kill rabbitmq`, `start rabbitmq`. With another
#                           CONTAINER_SERVICE_SERVICES_DIR it runs a broker of a test's own.
#   CS_TEST_CLIENTS         a Python that has python-zunclient, -openstackclient and -magnumclient
#   CS_TEST_KEYSTONE        a Python that has keystone, which tests start themselves
#   OS_TEST_DBAPI_ADMIN_CONNECTION   the same databases for oslo.db's fixtures

set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"

RUN=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
VHOST=cs_test_$RUN
WORK=$(mktemp -d)
SUMMARY=$WORK/summary
STRICT=
PASSED=0
FAILED=0
EMPTY=0

CONCURRENCY=${CS_TEST_CONCURRENCY:-2}

# Functional tests that keep all processors busy, or that say how fast something is.
ALONE='test_flood'

# More failures than this are not for a machine that was busy for a moment.
AGAIN=5

usage() { sed -n '/^#   tools/,/^$/p' "${BASH_SOURCE[0]}" | sed -n -e '/^[^#]/q' -e 's/^# \{0,1\}//p'; }

# ---- what the tests talk to ---------------------------------------------------------------------

provide_services() {
    start_services docker registry rabbitmq mariadb postgresql
    export CS_TEST_DATABASE_PREFIX=cs_test_${RUN}_
    $CS_TEST_RABBITMQCTL -q add_vhost "$VHOST" >/dev/null
    $CS_TEST_RABBITMQCTL -q set_permissions -p "$VHOST" container_service '.*' '.*' '.*' >/dev/null
    export CS_TEST_TRANSPORT_URL=$CS_TEST_TRANSPORT_URL$VHOST
    provide_images
}

in_registry() { # NAME
    "$VENV/bin/python" - "http://$CS_TEST_REGISTRY/v2/$1/manifests/latest" <<'PY' 2>/dev/null
import sys, urllib.request
accept = 'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json'
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(urllib.request.Request(sys.argv[1], method='HEAD', headers={'Accept': accept}), timeout=5)
PY
}

push() { # IMAGE: to our registry; the engine forgets that name again, so that tests can pull it
    docker tag "$1" "$CS_TEST_REGISTRY/$1"
    docker push -q "$CS_TEST_REGISTRY/$1" >/dev/null
    docker rmi "$CS_TEST_REGISTRY/$1" >/dev/null
}

provide_images() {
    provide_image "$WORK"
    in_registry cs-test/busybox || push "$CS_TEST_IMAGE"
    if ! in_registry cs-test/layers; then
        say 'building cs-test/layers:latest'
        local context=$WORK/layers number
        mkdir "$context"
        echo "FROM $CS_TEST_IMAGE" >"$context/Dockerfile"
        for number in 1 2 3; do
            # Random, so that compression does not make a small layer of it.
            head -c 5000000 /dev/urandom >"$context/data$number"
            echo "COPY data$number /data$number" >>"$context/Dockerfile"
        done
        # The classic builder: Debian's engine has no other, and it needs no network.
        DOCKER_BUILDKIT=0 docker build -q -t cs-test/layers:latest "$context" >/dev/null 2>"$WORK/build.log" ||
            { cat "$WORK/build.log" >&2; die 'cannot build cs-test/layers'; }
        push cs-test/layers:latest
        docker rmi cs-test/layers:latest >/dev/null
    fi
}

drop_databases() {
    "$VENV/bin/python" - "$CS_TEST_DATABASE_PREFIX" "$CS_TEST_MYSQL_URL" "$CS_TEST_POSTGRESQL_URL" <<'PY'
import sys
import sqlalchemy as sa
prefix, mysql, postgresql = sys.argv[1:]
for url, listing, drop in (
        (mysql + 'information_schema', 'SELECT schema_name FROM information_schema.schemata', 'DROP DATABASE `%s`'),
        (postgresql + 'postgres', 'SELECT datname FROM pg_database', 'DROP DATABASE "%s" WITH (FORCE)')):
    engine = sa.create_engine(url, isolation_level='AUTOCOMMIT')
    with engine.connect() as connection:
        for name in connection.exec_driver_sql(listing).scalars().all():
            if name.startswith(prefix):
                connection.exec_driver_sql(drop % name)
PY
}

clean_up() {
    local status=$?
    trap - EXIT
    set +e
    end_job
    if [ -n "${CS_TEST_DATABASE_PREFIX:-}" ]; then
        # A test may have left a service stopped; then there is nothing to clean in it.
        "$SERVICES" pid rabbitmq >/dev/null && $CS_TEST_RABBITMQCTL -q delete_vhost "$VHOST" >/dev/null 2>&1
        drop_databases >/dev/null 2>&1
    fi
    stop_services
    rm -rf "$WORK"
    exit "$status"
}

# ---- checks and tests ---------------------------------------------------------------------------

check() { # TITLE COMMAND...: counts as one test
    local title=$1
    shift
    if "$@" >"$WORK/check.log" 2>&1; then
        echo "ok      $title"
        PASSED=$((PASSED + 1))
    else
        echo "FAILED  $title"
        sed 's/^/    /' "$WORK/check.log"
        FAILED=$((FAILED + 1))
        { echo "FAILED  $title"; tail -n 12 "$WORK/check.log" | sed 's/^/    /'; } >>"$SUMMARY"
    fi
}

check_scripts() { "$VENV/bin/shellcheck" -x tools/*.sh .ci/run; }

build_docs() {
    "$VENV/bin/sphinx-build" -q -W --keep-going -E -b html -d "$WORK/doctrees" doc/source "$WORK/html"
}

run_style() {
    step 'style'
    check 'ruff' "$VENV/bin/ruff" check --no-cache .
    check 'bandit' "$VENV/bin/bandit" -q -ll -c pyproject.toml -r container_service
    check 'shell scripts' check_scripts
    check 'installed packages agree' "$VENV/bin/pip" check
    # reno reads history, which an unpacked archive has not.
    [ ! -e .git ] || check 'release notes' "$VENV/bin/reno" -q lint
    [ ! -e doc/source/conf.py ] || check 'documentation without warnings' build_docs
}

# A repository of its own per run: two runs at once, or one by hand, do not mix their results.
stestr_in() { # NAME COMMAND...
    local repository=$WORK/stestr-$1
    shift
    [ -d "$repository" ] || { mkdir "$repository" && "$VENV/bin/stestr" --repo-url "$repository" init; }
    "$VENV/bin/stestr" --repo-url "$repository" "$@"
}

# Shows the tests as they are run, and keeps what came of them in $WORK/NAME.subunit.
run_stestr() { # NAME [OPTION...]
    local name=$1 status=0
    shift
    stestr_in "$name" run --subunit "$@" |
        "$VENV/bin/python" tools/results.py show "$WORK/$name.subunit" || status=$?
    return "$status"
}

# Whether there are such tests; an error in listing is left to the run to report.
any_test() { # FILTER
    local listing
    ! listing=$(stestr_in list list "$1" 2>&1) || [ -n "$listing" ]
}

run_tests() { # PART
    local part=$1 status=0 counts passed failed skipped names='' files=() again=()
    step "$part tests"
    export OS_TEST_PATH=./container_service/tests/$part
    if [ -n "$REGEX" ] && ! any_test "$REGEX"; then
        say "no $part test matches $REGEX"
        return
    fi
    local stage options filter
    for stage in "$part" alone; do
        filter=$REGEX options=()
        if [ "$part" = functional ]; then
            # Those that need the machine for themselves come last.
            case $stage in
                functional) options=(--concurrency "$CONCURRENCY") filter="^(?!.*(?:$ALONE)).*(?:$REGEX)" ;;
                alone) options=(--concurrency 1) filter="^(?=.*(?:$ALONE)).*(?:$REGEX)" ;;
            esac
            [ -z "$REGEX" ] || any_test "$filter" || continue
        elif [ "$stage" = alone ]; then
            continue
        fi
        run_stestr "$part-$stage" "${options[@]}" ${filter:+"$filter"} || status=$?
        files+=("$WORK/$part-$stage.subunit")
    done
    if [ "$part" = functional ] && [ -z "$STRICT" ]; then
        names=$("$VENV/bin/python" tools/results.py again --most "$AGAIN" "${files[@]}")
        if [ -n "$names" ]; then
            step 'once more, alone: what has failed'
            run_stestr "$part-again" --concurrency 1 "$names" || true
            again=(--again "$WORK/$part-again.subunit")
        fi
    fi
    counts=$("$VENV/bin/python" tools/results.py sum --summary "$SUMMARY" "${again[@]}" "${files[@]}")
    read -r passed failed skipped <<<"$counts"
    if [ "$status" != 0 ] && [ "$failed" = 0 ] && [ -z "$names" ]; then
        # Tests that cannot be imported are in no result.
        echo "FAILED  stestr ended with exit code $status, and no test to blame" | tee -a "$SUMMARY"
        failed=1
    fi
    if [ "$((passed + failed + skipped))" = 0 ]; then
        echo "no $part tests were found"
        EMPTY=1
    fi
    echo "$part: $passed passed, $failed failed, $skipped skipped"
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
}

# What is told of each scenario that failed; what was violated comes right behind, then the stories.
sum_up_faults() { # LOG
    awk 'function key() { return $2 " " $3 (match($0, / with the bug [^ ,]+/) ? substr($0, RSTART, RLENGTH) : "") }
         NR == FNR { if (/^unsteady: /) unsteady[key()] = 1; next }
         /^[^ ]/ { on = /^unsteady: / || /^FAILED / && !(key() in unsteady); told = 0 }
         on && told++ < 12' "$1" "$1"
}

# The short run of the fault suite; each scenario on each database counts as one test.
run_faults() {
    local status=0 passed='' failed='' options=(--parallel --sensitivity)
    [ -n "$STRICT" ] || options+=(--again)
    run_job tools/faults.sh "${options[@]}" >"$WORK/faults.log" || status=$?
    cat "$WORK/faults.log"
    sum_up_faults "$WORK/faults.log" >>"$SUMMARY"
    read -r passed _ failed _ < <(tail -n 1 "$WORK/faults.log" | grep -x '[0-9]* passed, [0-9]* failed') || true
    if [ -z "$passed" ] || { [ "$status" != 0 ] && [ "$failed" = 0 ]; }; then
        echo "FAILED  the fault suite ended with exit code $status, and no scenario to blame" |
            tee -a "$SUMMARY"
        failed=$((${failed:-0} + 1))
    fi
    PASSED=$((PASSED + ${passed:-0}))
    FAILED=$((FAILED + failed))
}

main() {
    local parts=()
    REGEX=
    while [ $# -gt 0 ]; do
        case $1 in
            -h|--help) usage; exit 0 ;;
            style|unit|functional|faults) parts+=("$1") ;;
            --strict) STRICT=1 ;;
            -*) die "unknown option $1; see --help" ;;
            *)
                [ -z "$REGEX" ] || die "one regular expression, please: $REGEX or $1?"
                REGEX=$1 ;;
        esac
        shift
    done
    if [ "${#parts[@]}" = 0 ]; then
        parts=(unit functional)
        [ -n "$REGEX" ] || parts=(style "${parts[@]}" faults)
    fi
    begin_run clean_up
    ensure_venv test-requirements.txt doc/requirements.txt
    export PATH=$VENV/bin:$PATH
    [[ " ${parts[*]} " == ' style ' || " ${parts[*]} " == ' faults ' ]] || provide_services
    if [[ " ${parts[*]} " == *' functional '* ]]; then
        ensure_beside clients 'the clients that tests use'
        ensure_beside keystone 'the Keystone that tests use'
        export CS_TEST_CLIENTS=$VENV/clients/bin/python CS_TEST_KEYSTONE=$VENV/keystone/bin/python
    fi

    local part
    for part in "${parts[@]}"; do
        case $part in
            style) run_style ;;
            unit) run_tests unit ;;
            functional) run_tests functional ;;
            faults) run_faults ;;
        esac
    done
    if [ "$((PASSED + FAILED))" = 0 ]; then
        echo 'nothing was tested'
        EMPTY=1
    fi
    if [ -s "$SUMMARY" ]; then
        step 'what has failed'
        cat "$SUMMARY"
    fi
    echo
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ] && [ "$EMPTY" = 0 ]
}

main "$@"
