#!/bin/sh
# Installs a worker of a farm: its program in a virtual environment, packages pinned by hash, and a systemd service.
#
#   echo TOKEN | sudo sh install.sh -    install or update, join with TOKEN, start
#   sudo sh install.sh                update, and start again
#   sudo sh install.sh --uninstall    remove service and program; with --purge, also the identity and what it stores
#
#   --no-systemd    no service and no user: print the command that runs the worker
#   --prefix DIR    the program (/opt/seederfarm-worker; without root ~/.local/share/seederfarm-worker)
#   --data DIR      identity and content (/var/lib/seederfarm-worker; without root PREFIX/data)
#   --name NAME --zone ZONE    for a token that names neither
#   --small         settings for a machine with 256 MB of memory
#   --print-unit    print the systemd unit, and change nothing
#
# Every user of the machine sees the words of a command: no command here has the token among them. It comes from
# standard input, or in FARM_TOKEN where that is this script. As an argument it is taken as well.
# FARM_PYTHON names the interpreter. Repeating it changes only what is not up to date. Settings stay in
# PREFIX/worker.env, which is not replaced.
set -eu

# The farm writes its own values here when it serves this file
FARM_URL=''
FARM_CURL=''
BUNDLE_SHA256=''

SERVICE=seederfarm-worker
IDENTITY=worker.sqlite3
KEEP_FREE_KB=300000

say() { printf '%s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

main() {
    token=${FARM_TOKEN-} name='' zone='' prefix='' data='' small='' purge='' systemd=yes action=install
    while [ $# -gt 0 ]; do
        case $1 in
        --no-systemd) systemd='' ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        --small) small=yes ;;
        --print-unit) action=unit ;;
        --prefix | --data | --name | --zone)
            [ $# -gt 1 ] || die "$1 needs a value"
            eval "${1#--}=\$2"
            shift
            ;;
        --help | -h)
            say "install.sh [- | TOKEN] [--uninstall [--purge]] [--no-systemd] [--small] [--prefix DIR] [--data DIR] [--name NAME] [--zone ZONE]"
            exit 0
            ;;
        -) IFS= read -r token || [ -n "$token" ] || die "no token on standard input" ;;
        sfj1_*) token=$1 ;;
        *) die "$1 is neither an option nor a token, which begins with sfj1_: copy the whole command again" ;;
        esac
        shift
    done
    case $token in '' | sfj1_*) ;; *) die "a token begins with sfj1_: copy the whole command again" ;; esac
    if [ "$(id -u)" = 0 ]; then
        : "${prefix:=/opt/$SERVICE}" "${data:=/var/lib/$SERVICE}"
    else
        : "${prefix:=${HOME:?}/.local/share/$SERVICE}" "${data:=$prefix/data}"
    fi
    case $prefix$data in *[!A-Za-z0-9/._-]*) die "--prefix and --data: use only letters, digits and / . _ -" ;; esac
    case $prefix in /*/*) ;; *) die "--prefix must be an absolute path, such as /opt/$SERVICE" ;; esac
    case $data in /*/*) ;; *) die "--data must be an absolute path, such as /var/lib/$SERVICE" ;; esac
    current=$prefix/current
    cd /  # no program reads what lies where this was called

    case $action in
    unit) print_unit ;;
    uninstall) uninstall ;;
    install)
        check_machine
        prepare
        fetch
        install_packages
        join
        start
        ;;
    esac
}

# Everything that can be wrong before anything is changed.
check_machine() {
    [ -n "$FARM_URL" ] || die "this file comes from no farm: use the command that \`seederfarm worker enroll\` prints"
    if [ -n "$systemd" ]; then
        [ "$(id -u)" = 0 ] || die "a service needs root: run it with sudo, or with --no-systemd"
        [ -d /run/systemd/system ] || die "systemd does not run here: use --no-systemd, and start the worker by other means"
    fi
    command -v curl >/dev/null 2>&1 || die "curl is not installed: sudo apt install curl"
    python=''
    for candidate in ${FARM_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || die "Python 3.11 or newer is not installed: sudo apt install python3 python3-venv (Debian 12 or newer)"
    "$python" -I -c 'import sys; sys.exit(sys.maxsize < 2**32)' ||
        die "this Python has 32 bits, for which there are no packages: use the 64-bit Raspberry Pi OS"
    "$python" -I -c 'import ensurepip, venv' 2>/dev/null || die "python3-venv is not installed: sudo apt install python3-venv"
}

# Root writes nothing into a directory of another user, which can have put a symbolic link there.
try_to_write() {
    if [ "$(id -u)" = 0 ] && [ -z "$(find "$1/." -prune -user 0)" ]; then
        [ -w "$1" ] || { echo "not writable" && return 1; }
        return 0
    fi
    touch "$1/.try" && rm "$1/.try"
}

prepare() {
    for folder in "$prefix" "$data"; do
        error=$(mkdir -p "$folder" 2>&1 && try_to_write "$folder" 2>&1) ||
            die "$folder cannot be written: ${error##*: }. Is the disk full, or mounted read-only?"
    done
    free=$(df -Pk "$prefix" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$KEEP_FREE_KB" ] || die "$prefix has $((free / 1000)) MB free, the program needs $((KEEP_FREE_KB / 1000)) MB"
    scratch=$prefix/.new.$$
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$scratch"
}

# The id of the token, under which the farm has the packages. It is kept, for updates without a token.
token_id() {
    if [ -z "$token" ]; then
        [ -f "$prefix/token-id" ] || die "no TOKEN given, and no worker is installed here yet"
        cat "$prefix/token-id"
        return
    fi
    printf '%s\n' "$token" | "$python" -I -c '
import base64, hashlib, json, sys
word = sys.stdin.readline().strip().partition("_")[2]
try:
    secret = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))["secret"]
    print(hashlib.sha256(secret.encode()).hexdigest()[:16])
except (ValueError, KeyError, TypeError, AttributeError):
    sys.exit(1)
' || die "the token is cut short or damaged: copy the whole command again"
}

fetch() {
    id=$(token_id) || exit 1
    # shellcheck disable=SC2086  # options, of which none has a space
    status=$(curl ${FARM_CURL:--sS} -m 600 -D "$scratch/headers" -o "$scratch/bundle.tar" -w '%{http_code}' "$FARM_URL/join/$id/bundle.tar" 2>"$scratch/curl") ||
        die "cannot fetch from $FARM_URL: $(tail -n 1 "$scratch/curl" | sed 's/^curl: //')"
    case $status in
    200) ;;
    403 | 500) die "$(head -c 500 "$scratch/bundle.tar" | head -n 1)" ;;
    *) die "$FARM_URL answers $status: is it the farm, and does it run?" ;;
    esac
    check_clock
    found=$("$python" -I -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$scratch/bundle.tar")
    [ "$found" = "$BUNDLE_SHA256" ] || die "the packages are not those that this installer is for: the farm was updated just now, or the connection is tampered with. Run the farm's command again"
    tar -xf "$scratch/bundle.tar" -C "$scratch"
}

# Messages of the farm expire, and so do certificates.
check_clock() {
    "$python" -I - "$scratch/headers" <<'PYTHON' || exit 1
import email.utils, sys, time
for line in open(sys.argv[1], errors="replace"):
    name, _, value = line.partition(":")
    if name.lower() == "date":
        ahead = time.time() - email.utils.parsedate_to_datetime(value.strip()).timestamp()
        if abs(ahead) > 120:
            sys.exit(f"install.sh: the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of the farm: set it (sudo timedatectl set-ntp true), then run this again")
PYTHON
}

# A new environment beside the one that runs, which is replaced by one rename.
install_packages() {
    venv=$prefix/venv-$(printf %.12s "$BUNDLE_SHA256")
    if [ ! -f "$venv/complete" ]; then
        say "installing $(basename "$scratch"/seederfarm-*.whl | cut -d- -f1,2) into $prefix"
        rm -rf "$venv"
        "$python" -I -m venv "$venv" >"$scratch/log" 2>&1 || die "no virtual environment can be made: $(tail -n 1 "$scratch/log"). On Debian: sudo apt install python3-venv"
        pip --require-hashes --only-binary :all: -r "$scratch/requirements.txt"
        pip --no-index --force-reinstall "$scratch"/*.whl
        : >"$venv/complete"
    fi
    ln -sfn "$(basename "$venv")" "$prefix/current.new"
    mv -T "$prefix/current.new" "$current" 2>/dev/null || mv -fh "$prefix/current.new" "$current"
    for old in "$prefix"/venv-*; do
        [ "$old" = "$venv" ] || rm -rf "$old"
    done
    cp "$scratch/install.sh" "$prefix/install.sh"
    printf '%s\n' "$id" >"$prefix/token-id"
    [ -f "$prefix/worker.env" ] || (umask 077 && new_settings >"$prefix/worker.env")
}

pip() {
    "$venv/bin/python" -I -m pip install --no-deps --no-input --no-cache-dir --disable-pip-version-check --progress-bar off "$@" >"$scratch/log" 2>&1 && return
    sed 's/^/    /' "$scratch/log" | tail -n 5 >&2
    die "packages could not be installed (see above): is there a way to the package index, and room on the disk? Nothing that ran was changed"
}

new_settings() {
    say "# Settings of this worker, as in docs/settings.md of the farm's program: NAME=VALUE. It is not replaced by updates."
    say "#SEEDERFARM_UP=2M"
    say "#SEEDERFARM_MAX_BYTES=100G"
    [ -n "$small" ] || return 0
    say "# For 256 MB of memory: fewer connections, which have most of it, and one heap for all threads"
    say "SEEDERFARM_MAX_PEERS=64"
    say "MALLOC_ARENA_MAX=1"
}

# As the user of the service, which owns what is stored.
join() {
    if [ -n "$systemd" ]; then
        id "$SERVICE" >/dev/null 2>&1 || useradd --system --user-group --home-dir "$data" --no-create-home --shell /usr/sbin/nologin "$SERVICE"
        chown "$SERVICE:" "$data"
    fi
    chmod 700 "$data"
    [ -n "$token" ] || return 0
    set -- "$current/bin/seederfarm" worker join - --data "$data" --name "${name:-$(uname -n)}" --zone "$zone"
    if [ -n "$systemd" ]; then
        systemctl stop "$SERVICE" 2>/dev/null || true  # it holds the directory
        set -- runuser -u "$SERVICE" -- "$@"
    fi
    printf '%s\n' "$token" | (cd "$data" && "$@") && return
    [ -z "$systemd" ] || systemctl start --no-block "$SERVICE" 2>/dev/null || true
    die "the program is installed, but did not join (see above). Run the command again when that is mended"
}

start() {
    if [ -z "$systemd" ]; then
        say "run the worker with:"
        say "  $current/bin/seederfarm worker run --data $data"
        return
    fi
    print_unit >"/etc/systemd/system/$SERVICE.service.new"
    mv "/etc/systemd/system/$SERVICE.service.new" "/etc/systemd/system/$SERVICE.service"
    systemctl daemon-reload
    systemctl enable --quiet "$SERVICE"
    systemctl restart "$SERVICE" || die "the service does not start: see journalctl -u $SERVICE"
    say "the worker runs. Its log: journalctl -u $SERVICE -f; its settings: $prefix/worker.env"
}

print_unit() {
    cat <<UNIT
[Unit]
Description=Worker of a seeder farm
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User=$SERVICE
Group=$SERVICE
ExecStart=$current/bin/seederfarm worker run --data $data
WorkingDirectory=$data
EnvironmentFile=-$prefix/worker.env
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
UMask=0077
Restart=always
RestartSec=5
# Retired by the farm: another start would change nothing
RestartPreventExitStatus=78
WatchdogSec=180
TimeoutStartSec=180
TimeoutStopSec=40
KillMode=mixed
# An engine that takes too much is started again by the agent
OOMPolicy=continue
MemoryMax=75%
TasksMax=200
LimitNOFILE=65536
LogRateLimitIntervalSec=60
LogRateLimitBurst=600

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths=$data
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
UNIT
}

uninstall() {
    if [ -n "$purge" ] && [ -d "$data" ] && [ ! -f "$data/$IDENTITY" ] && [ -n "$(ls -A "$data")" ]; then
        die "$data is no directory of a worker (it has no $IDENTITY): nothing is removed. Name the right one with --data"
    fi
    if [ -n "$systemd" ] && [ "$(id -u)" = 0 ] && [ -f "/etc/systemd/system/$SERVICE.service" ]; then
        systemctl disable --now --quiet "$SERVICE" || true
        rm -f "/etc/systemd/system/$SERVICE.service"
        systemctl daemon-reload
    fi
    rm -rf "$prefix"/venv-* "$current" "$prefix/install.sh" "$prefix/token-id"
    if [ -n "$purge" ]; then
        rm -rf "$data" "$prefix/worker.env"
        if [ -n "$systemd" ] && [ "$(id -u)" = 0 ] && id "$SERVICE" >/dev/null 2>&1; then userdel "$SERVICE"; fi
        say "removed, with everything that it stored"
    else
        say "removed. What it stores is left in $data: with it, the next installation is the same worker"
    fi
    rmdir "$prefix" 2>/dev/null || true
}

main "$@"
