# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the scripts in this directory share. Sourced, never run: `. tools/lib.sh`.
# Needs bash, apt-get and, unless root, sudo. Nothing here assumes systemd.

# A user's PATH on Debian lacks the directories the daemons live in.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
step() { printf '\n==> %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "needs root for: $* (run it as root, or install sudo)"
    fi
}

# apt_install PACKAGE...: call it only with what is missing, it always refreshes the index: on a
# fresh machine there is none, and on an old one it names versions that are gone.
apt_install() {
    have apt-get || die "please install: $* (this script knows apt-get only)"
    say "installing $*"
    local log
    log=$(mktemp)
    if ! { as_root apt-get -q update &&
           as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"; \
         } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $*"
    fi
    rm -f "$log"
}

# wait_for SECONDS COMMAND...: true as soon as the command is.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port PREFERRED [again]: that one, or any when somebody listens there already. `again`: it was
# the daemon's own before, so that connections to it that have not been forgotten do not count.
# Any: below those that the system gives to connections that go out. One of those might be in the
# way when the daemon is started again.
free_port() {
    python3 - "$@" <<'PY'
import random, socket, sys
for port in (int(sys.argv[1]), *random.sample(range(15000, 32000), 100)):
    # Without SO_REUSEADDR: a port in TIME_WAIT is one that daemons may fail to bind.
    with socket.socket() as sock:
        if len(sys.argv) > 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(('', port))
        except OSError:
            continue
        print(sock.getsockname()[1])
        break
PY
}

# ---- processes --------------------------------------------------------------------------------
# A pid file holds "PID STARTTIME". A number alone may have been given to a stranger since, and we
# end nothing that we did not start.

process_start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name in parentheses may contain blanks: cut after it. Field 22 is the start time, and a
    # zombie (state Z) is as good as gone.
    set -f
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    set +f
    [ "$1" != Z ] || return 1
    printf '%s\n' "${20}"
}

pid_of() { # FILE: prints the pid if the process that was recorded there is alive
    local pid started
    [ -r "$1" ] || return 1
    read -r pid started <"$1" || return 1
    [ "$(process_start_time "$pid")" = "$started" ] || return 1
    printf '%s\n' "$pid"
}

record_pid() { printf '%s %s\n' "$2" "$(process_start_time "$2")" >"$1"; } # FILE PID

# spawn PIDFILE LOG COMMAND...: in the background, in a session of its own, so that Ctrl-C here
# does not reach it. SPAWN_AS=root goes through sudo when needed; any other name is changed to.
spawn() {
    local pidfile=$1 log=$2 pid
    shift 2
    local starter=()
    case ${SPAWN_AS:-} in
        '') ;;
        root) starter=(as_root) ;;
        # setpriv, unlike su, leaves no process of its own in between: the pid is the daemon's.
        *) set -- setpriv --reuid="$SPAWN_AS" --regid="$(id -g "$SPAWN_AS")" --init-groups "$@" ;;
    esac
    : >>"$log"
    # The shell in the middle tells the pid also when sudo stands before it. Descriptor 9 is our
    # lock: a daemon that inherits it would hold it for ever.
    # shellcheck disable=SC2016
    pid=$("${starter[@]}" sh -c 'cd / && log=$1 && shift && { setsid "$@" </dev/null >>"$log" 2>&1 9>&- & echo $!; }' \
          sh "$log" "$@")
    record_pid "$pidfile" "$pid"
}

# end_process PIDFILE [SECONDS] [SIGNAL]: asks first, and insists when SECONDS are over.
end_process() {
    local pid kill=(kill)
    if pid=$(pid_of "$1"); then
        kill -0 "$pid" 2>/dev/null || kill=(as_root kill)
        "${kill[@]}" "-${3:-TERM}" "$pid" 2>/dev/null || true
        if ! wait_for "${2:-30}" process_gone "$1"; then
            "${kill[@]}" -KILL "$pid" 2>/dev/null || true
            wait_for 10 process_gone "$1" || say "process $pid does not end"
        fi
    fi
    rm -f "$1"
}
process_gone() { ! pid_of "$1"; }

# ---- runs of tests, benchmark, faults ---------------------------------------------------------

SERVICES=$REPO/tools/services.sh
VENV=$REPO/.venv
STARTED=()
JOB=

# begin_run CLEAN_UP: whatever ends the script, it ends through that function.
begin_run() {
    # shellcheck disable=SC2064
    trap "$1" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # What a user has set for a cloud, or a proxy for the world, is not meant for this.
    local name
    for name in ${!OS_@} ${!CONTAINER_SERVICE_@}; do
        [ "$name" = CONTAINER_SERVICE_SERVICES_DIR ] || unset "$name"
    done
    export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost LC_ALL=C.UTF-8
}

# start_services NAME...: and tell in CS_TEST_* where they are.
start_services() {
    local name exports
    step 'starting services'
    for name; do
        # Only what was not there before is ours to end.
        "$SERVICES" pid "$name" >/dev/null || STARTED+=("$name")
        "$SERVICES" start "$name" || die "this needs $name, and it cannot be started (see above)"
    done
    exports=$("$SERVICES" env)
    eval "$exports"
}

stop_services() {
    if [ -z "${KEEP_SERVICES:-}" ] && [ "${#STARTED[@]}" -gt 0 ]; then
        "$SERVICES" stop "${STARTED[@]}"
    fi
}

# provide_image DIRECTORY: CS_TEST_IMAGE, in the engine at CS_TEST_DOCKER.
provide_image() {
    # The engine that is tested, whatever the user's environment prefers.
    export DOCKER_HOST=$CS_TEST_DOCKER CS_TEST_IMAGE=cs-test/busybox:latest
    if ! docker image inspect "$CS_TEST_IMAGE" >/dev/null 2>&1; then
        say "building $CS_TEST_IMAGE"
        import_busybox "$CS_TEST_IMAGE" "$1"
    fi
}

# run_job COMMAND...: in the background, so that a signal is ours at once; Ctrl-C does not reach it.
run_job() {
    local status=0
    "$@" </dev/null &
    JOB=$!
    wait "$JOB" || status=$?
    JOB=
    return "$status"
}

# end_job: what run_job has left behind when a signal came; it cleans up after itself.
end_job() { [ -z "$JOB" ] || { kill "$JOB" 2>/dev/null && wait "$JOB"; }; }

# ---- python -----------------------------------------------------------------------------------

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13; do
        if have "$candidate" &&
           "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die 'needs Python 3.11 or later (apt-get install python3)'
}

# ensure_venv FILE...: .venv in the repository, with the requirements in FILE... at the versions
# that were tested together, and the project in place (editable). Does nothing when none of that
# has changed since the last time. One at a time, by a lock on the directory itself.
# shellcheck disable=SC2120
ensure_venv() {
    ( flock 8 && update_venv "$@" ) 8<"$REPO"
}

update_venv() {
    local python venv=$VENV stamp files=() file
    for file in requirements.txt "$@"; do
        [[ " ${files[*]} " == *" -r $REPO/$file "* ]] || files+=(-r "$REPO/$file")
    done
    # A stamp per set of files: the script that needs less must not take away what another added.
    stamp=$venv/.stamp-$(printf '%s-' "$@" | tr -c 'a-z\n' '-')
    local now
    now=$(cd "$REPO" && cat requirements.txt "$@" constraints.txt setup.cfg setup.py pyproject.toml | sha256sum)
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now $REPO" ]; then
        return
    fi
    python=$(find_python)
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            apt_install "$(basename "$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')")-venv"
        fi
        # A file there only points at an environment of tox (PEP 832).
        [ ! -f "$venv" ] || rm -f "$venv"
        step "creating $venv"
        "$python" -m venv --clear "$venv"
    fi
    step "installing the project and what it needs into $venv"
    # Build tools first and no build isolation: pip would otherwise fetch them again, in versions
    # nobody has tested, into a directory it throws away. And pip itself: where constraints cannot
    # be met, Debian 12's (23.0) searches without end instead of saying so.
    "$venv/bin/python" -m pip install -qq -U -c "$REPO/constraints.txt" pip setuptools wheel pbr
    "$venv/bin/python" -m pip install -qq -c "$REPO/constraints.txt" "${files[@]}"
    "$venv/bin/python" -m pip install -qq --no-build-isolation --no-deps -e "$REPO"
    printf '%s\n' "$now $REPO" >"$stamp"
}

# ensure_beside NAME WHAT: what tests run and nothing of ours imports, as test-NAME.txt says, in
# $VENV/NAME.
ensure_beside() {
    ( flock 8 && update_beside "$@" ) 8<"$REPO"
}

update_beside() {
    local venv=$VENV/$1 list=$REPO/test-$1.txt now
    now=$(sha256sum <"$list")
    if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$now $REPO" ]; then
        return
    fi
    step "installing $2 into $venv"
    "$VENV/bin/python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install -qq -r "$list"
    printf '%s\n' "$now $REPO" >"$venv/.stamp"
}

# ---- a small image, without a registry ----------------------------------------------------------

# busybox_binary DIRECTORY: path of a static busybox; the installed one, or one unpacked there. Not
# installed, because the package replaces `busybox`, which the machine may boot with.
busybox_binary() {
    if dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null | grep -qx installed; then
        echo /bin/busybox
        return
    fi
    local unpacked=$1/busybox-static
    if [ ! -x "$unpacked/bin/busybox" ]; then
        mkdir -p "$unpacked"
        (
            cd "$unpacked"
            # The index may be missing or out of date; only then is it worth root's help.
            apt-get -q download busybox-static >/dev/null 2>&1 || {
                as_root apt-get -q update >/dev/null 2>&1 </dev/null
                apt-get -q download busybox-static >/dev/null 2>&1
            } || die 'apt-get cannot download busybox-static'
            dpkg-deb -x busybox-static_*.deb . && rm -f busybox-static_*.deb
        ) || exit 1
    fi
    if [ -x "$unpacked/bin/busybox" ]; then
        echo "$unpacked/bin/busybox"
    else
        echo "$unpacked/usr/bin/busybox"
    fi
}

# import_busybox IMAGE DIRECTORY: an image with a shell and the usual commands, 2 MB.
import_busybox() {
    local binary root applet
    binary=$(busybox_binary "$2")
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,var}
    chmod 1777 "$root/tmp"
    cp "$binary" "$root/bin/busybox"
    for applet in $("$binary" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    tar -C "$root" --owner=0 --group=0 -c . |
        docker import --change 'CMD ["sh"]' \
            --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' - "$1" >/dev/null
    rm -rf "$root"
}
