#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs and starts, without systemd, what the tests and the quickstart talk to.
#
#   tools/services.sh start [NAME...]     install and start; nothing happens to what is there already
#   tools/services.sh stop [NAME...]      end exactly what start started
#   tools/services.sh restart NAME...
#   tools/services.sh kill NAME...        SIGKILL, for tests of what a crash does; start brings it back
#   tools/services.sh status              one line for each
#   tools/services.sh pid NAME            pid of what we started, or exit 1
#   tools/services.sh env                 export lines for whatever is running
#   tools/services.sh rabbitmqctl ARG...  rabbitmqctl for our broker
#   tools/services.sh install [NAME...]   the packages only
#
# NAME: docker registry rabbitmq mariadb postgresql; without one: all of them.
#
# A Docker Engine that answers is used as it is. The other four are always ours: own data
# directory, loopback only, the usual port or another one if that is taken. So tests may create
# accounts, and kill a broker, and never do it to one that somebody works with. Their data is not
# safe against power loss (no fsync), but against being killed.
#
# State is kept in CONTAINER_SERVICE_SERVICES_DIR.

set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ALL=(docker registry rabbitmq mariadb postgresql)
DOCKER_SOCKET=${CS_DOCKER_SOCKET:-/var/run/docker.sock}
# For tests on the loopback interface only, hence no secrets. Database account and database have
# the names that OpenStack's test fixtures look for.
RABBIT_USER=container_service
RABBIT_PASSWORD=container_service
DB_USER=openstack_citest
DB_PASSWORD=openstack_citest

if [ -n "${CONTAINER_SERVICE_SERVICES_DIR:-}" ]; then
    STATE=$CONTAINER_SERVICE_SERVICES_DIR
elif [ "$(id -u)" = 0 ]; then
    # Root's daemons run as their packages' users, who may not enter root's home.
    STATE=/var/lib/container-service-services
else
    STATE=${XDG_STATE_HOME:-$HOME/.local/state}/container-service/services
fi

# ---- shared -----------------------------------------------------------------------------------

# Which user runs a daemon: PostgreSQL refuses to be root and the others should not be.
user_for() { # PACKAGE-USER
    if [ "$(id -u)" = 0 ] && id "$1" >/dev/null 2>&1; then
        printf '%s\n' "$1"
    fi
}

run_as() { # USER-or-empty COMMAND...
    local user=$1
    shift
    if [ -n "$user" ]; then
        (cd / && setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@")
    else
        "$@"
    fi
}

prepare() { # NAME USER: its directory, owned by its user
    mkdir -p "$STATE/$1"
    [ -z "$2" ] || chown "$2" "$STATE/$1"
    # A Unix socket's path ends at 107 bytes.
    [ "${#STATE}" -lt 75 ] || die "set CONTAINER_SERVICE_SERVICES_DIR to a shorter path than $STATE"
}

# A port is chosen once and kept, so that clients find a restarted service again. If a stranger
# has taken it meanwhile, another is chosen.
choose_port() { # NAME KEY PREFERRED: the same as ever, once it was chosen
    local file=$STATE/$1/$2
    if [ -s "$file" ]; then
        free_port "$(cat "$file")" again >"$file.new"
        mv "$file.new" "$file"
    else
        free_port "$3" >"$file"
    fi
    cat "$file"
}
port_of() { cat "$STATE/$1/port"; }

running() { pid_of "$STATE/$1/pid" >/dev/null; }

failed_to_start() { # NAME
    say "--- last lines of $STATE/$1/log"
    tail -n 30 "$STATE/$1/log" >&2 || true
    end_process "$STATE/$1/pid" 5
    die "$1 did not start; the whole log is in $STATE/$1/log"
}

# await NAME SECONDS CHECK...: ready, or dead, or out of time.
await() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! running "$name" || [ "$SECONDS" -ge "$deadline" ]; then
            failed_to_start "$name"
        fi
        sleep 0.2
    done
}

# ---- docker -----------------------------------------------------------------------------------

install_docker() {
    if ! have dockerd || ! have docker; then
        apt_install docker.io ca-certificates
    fi
}

docker_answers() { have docker && as_root docker -H "unix://$DOCKER_SOCKET" version; }

start_docker() {
    if ! docker_answers >/dev/null 2>&1; then
        install_docker
        # Where there is an init system the package has started the engine, or is just doing so.
        if ! { [ -d /run/systemd/system ] && as_root systemctl start docker >/dev/null 2>&1 &&
               wait_for 30 docker_answers; } && ! docker_answers >/dev/null 2>&1; then
            launch_docker
        fi
    fi
    if [ ! -w "$DOCKER_SOCKET" ]; then
        # Whoever may use sudo is root on this machine anyway. Lasts until the engine restarts.
        have setfacl || apt_install acl
        say "giving $(id -un) access to $DOCKER_SOCKET until the engine restarts"
        as_root setfacl -m "u:$(id -un):rw" "$DOCKER_SOCKET"
    fi
}

launch_docker() {
    prepare docker ''
    # Left behind by an engine that was killed. Its containerd may be dead or a zombie, and the
    # new engine would wait for it in vain.
    local stale=/var/run/docker/containerd/containerd.pid
    if [ -e "$stale" ] && ! process_start_time "$(cat "$stale")" >/dev/null; then
        as_root rm -f "$stale"
    fi
    # shellcheck disable=SC2086
    SPAWN_AS=root spawn "$STATE/docker/pid" "$STATE/docker/log" \
        dockerd --host "unix://$DOCKER_SOCKET" --group "$(id -gn)" ${CS_DOCKERD_ARGS:-}
    await docker 60 docker_answers
}

stop_docker() { end_process "$STATE/docker/pid" 60; }

env_docker() {
    if [ -S "$DOCKER_SOCKET" ]; then
        echo "export CS_TEST_DOCKER=unix://$DOCKER_SOCKET"
    fi
}

# ---- registry ---------------------------------------------------------------------------------

install_registry() { have docker-registry || apt_install docker-registry; }

start_registry() {
    running registry && return
    install_registry
    local user port
    user=$(user_for docker-registry)
    prepare registry "$user"
    port=$(choose_port registry port 5000)
    cat >"$STATE/registry/config.yml" <<YAML
version: 0.1
storage:
  filesystem:
    rootdirectory: $STATE/registry/data
  delete:
    enabled: true
http:
  addr: 127.0.0.1:$port
YAML
    SPAWN_AS=$user spawn "$STATE/registry/pid" "$STATE/registry/log" \
        docker-registry serve "$STATE/registry/config.yml"
    await registry 20 port_open "$port"
}

stop_registry() { end_process "$STATE/registry/pid"; }

env_registry() { echo "export CS_TEST_REGISTRY=127.0.0.1:$(port_of registry)"; }

# ---- rabbitmq ---------------------------------------------------------------------------------

install_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || apt_install rabbitmq-server; }

# Sets RABBIT_ENV. Everything has a name and a place of its own, so that a broker and an epmd of
# the system are not disturbed. The host's name need not resolve: the node is at localhost.
rabbit_environment() {
    local home=$STATE/rabbitmq
    RABBIT_ENV=(
        env HOME="$home"
        ERL_EPMD_PORT="$(cat "$home/epmd-port")" ERL_EPMD_ADDRESS=127.0.0.1
        RABBITMQ_NODENAME=container-service@localhost
        RABBITMQ_DIST_PORT="$(cat "$home/dist-port")"
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$(cat "$home/port")"
        RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf"
        RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf"
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins"
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/logs"
        RABBITMQ_PID_FILE="$home/rabbitmq.pid"
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
        # Makes the start script become the Erlang VM instead of waiting for it: then the pid we
        # know is the broker's.
        RUNNING_UNDER_SYSTEMD=true
    )
}

rabbitmqctl() {
    rabbit_environment
    run_as "$(user_for rabbitmq)" "${RABBIT_ENV[@]}" /usr/lib/rabbitmq/bin/rabbitmqctl "$@"
}

start_rabbitmq() {
    running rabbitmq && return
    install_rabbitmq
    local user home=$STATE/rabbitmq port
    user=$(user_for rabbitmq)
    prepare rabbitmq "$user"
    choose_port rabbitmq dist-port 25672 >/dev/null
    port=$(choose_port rabbitmq port 5672)
    # epmd stays when the broker goes, so it is a process of its own with a pid of its own.
    if ! pid_of "$home/epmd.pid" >/dev/null; then
        choose_port rabbitmq epmd-port 4369 >/dev/null
        SPAWN_AS=$user spawn "$home/epmd.pid" "$home/epmd.log" \
            epmd -address 127.0.0.1 -port "$(cat "$home/epmd-port")"
        wait_for 10 port_open "$(cat "$home/epmd-port")" || die "epmd did not start, see $home/epmd.log"
    fi
    rabbit_environment
    : >"$home/rabbitmq-env.conf"
    [ -e "$home/enabled_plugins" ] || echo '[].' >"$home/enabled_plugins"
    # The default alarm (50 MB free) would block publishers on a small disk without a word.
    printf '%s\n' "listeners.tcp.default = 127.0.0.1:$port" 'disk_free_limit.absolute = 10MB' \
        'queue_index_embed_msgs_below = 4096' >"$home/rabbitmq.conf"
    # What a test wants besides.
    [ ! -e "$home/more.conf" ] || cat "$home/more.conf" >>"$home/rabbitmq.conf"
    SPAWN_AS=$user spawn "$home/pid" "$home/log" "${RABBIT_ENV[@]}" /usr/lib/rabbitmq/bin/rabbitmq-server
    # Listening comes last, after recovery and plugins, and costs far less to ask than rabbitmqctl.
    await rabbitmq 90 port_open "$port"
    if [ ! -e "$home/account" ]; then
        rabbitmqctl -q add_user "$RABBIT_USER" "$RABBIT_PASSWORD" >>"$home/log" 2>&1 ||
            rabbitmqctl -q change_password "$RABBIT_USER" "$RABBIT_PASSWORD" >>"$home/log" 2>&1
        rabbitmqctl -q set_permissions -p / "$RABBIT_USER" '.*' '.*' '.*' >>"$home/log" 2>&1
        : >"$home/account"
    fi
}

stop_rabbitmq() {
    end_process "$STATE/rabbitmq/pid"
    end_process "$STATE/rabbitmq/epmd.pid"
}

env_rabbitmq() {
    echo "export CS_TEST_TRANSPORT_URL=rabbit://$RABBIT_USER:$RABBIT_PASSWORD@127.0.0.1:$(port_of rabbitmq)/"
    echo "export CS_TEST_RABBITMQCTL=\"$REPO/tools/services.sh rabbitmqctl\""
    echo "export CS_TEST_RABBITMQ_PID=$(pid_of "$STATE/rabbitmq/pid")"
}

# ---- mariadb ----------------------------------------------------------------------------------

install_mariadb() { have mariadbd || apt_install mariadb-server; }

mariadb_ready() { run_as "$(user_for mysql)" mariadb-admin --no-defaults --socket "$STATE/mariadb/sock" ping; }

start_mariadb() {
    running mariadb && return
    install_mariadb
    local user home=$STATE/mariadb port
    user=$(user_for mysql)
    prepare mariadb "$user"
    if [ ! -e "$home/initialized" ]; then
        rm -rf "$home/data"
        run_as "$user" mariadb-install-db --no-defaults --datadir="$home/data" --skip-test-db \
            --auth-root-authentication-method=socket --auth-root-socket-user="${user:-$(id -un)}" \
            >>"$home/log" 2>&1 || failed_to_start mariadb
        : >"$home/initialized"
    fi
    # Read at every start, so it must be repeatable.
    cat >"$home/init.sql" <<SQL
CREATE USER IF NOT EXISTS '$DB_USER'@'localhost' IDENTIFIED BY '$DB_PASSWORD';
CREATE USER IF NOT EXISTS '$DB_USER'@'127.0.0.1' IDENTIFIED BY '$DB_PASSWORD';
GRANT ALL PRIVILEGES ON *.* TO '$DB_USER'@'localhost' WITH GRANT OPTION;
GRANT ALL PRIVILEGES ON *.* TO '$DB_USER'@'127.0.0.1' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS $DB_USER;
SQL
    local more=()
    [ ! -e "$home/more" ] || mapfile -t more <"$home/more"
    port=$(choose_port mariadb port 3306)
    SPAWN_AS=$user spawn "$home/pid" "$home/log" \
        mariadbd --no-defaults --datadir="$home/data" --socket="$home/sock" --port="$port" \
        --bind-address=127.0.0.1 --pid-file="$home/data/mariadbd.pid" --init-file="$home/init.sql" \
        --max-connections=400 --character-set-server=utf8mb4 --skip-name-resolve \
        --innodb-flush-log-at-trx-commit=2 --skip-log-bin "${more[@]}"
    await mariadb 60 mariadb_ready
}

stop_mariadb() { end_process "$STATE/mariadb/pid" 60; }

env_mariadb() {
    echo "export CS_TEST_MYSQL_URL=mysql+pymysql://$DB_USER:$DB_PASSWORD@127.0.0.1:$(port_of mariadb)/"
}

# ---- postgresql -------------------------------------------------------------------------------

# By path, newest first: Debian keeps the server's programs off PATH, and what else is called
# `postgres` there may be anything.
postgres_bin() {
    local server
    server=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
    [ -x "$server" ] && dirname "$server"
}

install_postgresql() { postgres_bin >/dev/null || apt_install postgresql; }

psql_admin() { # [OPTION...]: with SQL on standard input
    run_as "$(user_for postgres)" "$(postgres_bin)/psql" -X -q -v ON_ERROR_STOP=1 \
        -h "$STATE/postgresql" -p "$(port_of postgresql)" -d postgres "$@"
}

kill_service() {
    local pid children='' child
    pid=$(pid_of "$STATE/$1/pid") || return 0
    [ "$1" != postgresql ] || children=$(cat "/proc/$pid/task/$pid/children")
    end_process "$STATE/$1/pid" 5 KILL
    # They end when they notice, and until then it cannot be started again.
    for child in $children; do
        wait_for 10 test ! -e "/proc/$child" || die "process $child of $1 does not end"
    done
}

start_postgresql() {
    running postgresql && return
    install_postgresql
    local user home=$STATE/postgresql port bin
    user=$(user_for postgres)
    bin=$(postgres_bin)
    prepare postgresql "$user"
    if [ ! -e "$home/initialized" ]; then
        rm -rf "$home/data"
        run_as "$user" "$bin/initdb" -D "$home/data" --auth=peer --encoding=UTF8 --locale=C.UTF-8 \
            >>"$home/log" 2>&1 || failed_to_start postgresql
        printf '%s\n' 'local all all peer' 'host all all 127.0.0.1/32 scram-sha-256' >"$home/data/pg_hba.conf"
        : >"$home/initialized"
    fi
    local more=()
    [ ! -e "$home/more" ] || mapfile -t more <"$home/more"
    port=$(choose_port postgresql port 5432)
    SPAWN_AS=$user spawn "$home/pid" "$home/log" \
        "$bin/postgres" -D "$home/data" -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories="$home" -c max_connections=400 \
        -c fsync=off -c full_page_writes=off "${more[@]}"
    await postgresql 60 psql_admin -c 'SELECT 1'
    if [ ! -e "$home/account" ]; then
        psql_admin -f - >>"$home/log" 2>&1 <<SQL
SELECT 'CREATE ROLE $DB_USER LOGIN CREATEDB CREATEROLE' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$DB_USER') \gexec
ALTER ROLE $DB_USER CREATEROLE PASSWORD '$DB_PASSWORD';
SELECT 'CREATE DATABASE $DB_USER OWNER $DB_USER' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$DB_USER') \gexec
SQL
        : >"$home/account"
    fi
}

# INT is PostgreSQL's "fast" shutdown; TERM waits until every client has left.
stop_postgresql() { end_process "$STATE/postgresql/pid" 60 INT; }

env_postgresql() {
    echo "export CS_TEST_POSTGRESQL_URL=postgresql+psycopg2://$DB_USER:$DB_PASSWORD@127.0.0.1:$(port_of postgresql)/"
}

# ---- commands ---------------------------------------------------------------------------------

names() { # ARGS...: checked; none means all
    local name
    [ $# -gt 0 ] || set -- "${ALL[@]}"
    for name in "$@"; do
        [[ " ${ALL[*]} " == *" $name "* ]] || die "no service $name; there are: ${ALL[*]}"
        printf '%s\n' "$name"
    done
}

print_env() {
    local name mysql='' postgresql='' connections='sqlite://'
    echo "export CS_TEST_SERVICES=$REPO/tools/services.sh"
    [ -z "${CONTAINER_SERVICE_SERVICES_DIR:-}" ] || echo "export CONTAINER_SERVICE_SERVICES_DIR=$STATE"
    for name in "${ALL[@]}"; do
        if [ "$name" = docker ] || running "$name"; then
            "env_$name"
        fi
    done
    # oslo.db's fixtures look at the usual ports unless this says where else; without it they skip.
    ! running mariadb || mysql=$(env_mariadb)
    ! running postgresql || postgresql=$(env_postgresql)
    [ -z "$mysql" ] || connections="$connections;${mysql#*=}$DB_USER"
    [ -z "$postgresql" ] || connections="$connections;${postgresql#*=}$DB_USER"
    echo "export OS_TEST_DBAPI_ADMIN_CONNECTION='$connections'"
}

print_status() {
    local name
    for name in "${ALL[@]}"; do
        if running "$name"; then
            echo "$name: started by us, pid $(pid_of "$STATE/$name/pid")"
        elif [ "$name" = docker ] && docker_answers >/dev/null 2>&1; then
            echo "$name: answers, not started by us"
        else
            echo "$name: not running"
        fi
    done
}

main() {
    local command=${1:-help} name list
    [ $# -eq 0 ] || shift
    case $command in
        start|stop|restart|kill|install)
            list=$(names "$@")
            mkdir -p "$STATE"
            # Two runs at once must not both find a service missing.
            exec 9>"$STATE/lock"
            flock -w 300 9 || die "another run holds $STATE/lock"
            for name in $list; do
                case $command in
                    start)
                        "start_$name"
                        say "$name: running" ;;
                    stop) "stop_$name" ;;
                    restart)
                        "stop_$name"
                        "start_$name" ;;
                    kill) kill_service "$name" ;;
                    install) "install_$name" ;;
                esac
            done ;;
        status) print_status ;;
        pid)
            [ $# -eq 1 ] || die 'pid of which service?'
            name=$(names "$1")
            pid_of "$STATE/$name/pid" ;;
        env) print_env ;;
        rabbitmqctl) rabbitmqctl "$@" ;;
        help|-h|--help) sed -n '/^#   tools/,/^$/p' "${BASH_SOURCE[0]}" | sed -e '/^$/d' -e 's/^# \{0,1\}//' ;;
        *) die "unknown command $command; see --help" ;;
    esac
}

main "$@"
