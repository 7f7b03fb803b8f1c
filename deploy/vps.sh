#!/bin/sh
# A farm on a new server (Debian 13, Ubuntu 24.04 or newer; x86-64 or aarch64), in containers:
#
#   sh deploy/vps.sh farm.example.org [ADDRESS-OF-THE-REPOSITORY]
#
# As root. It installs Docker from the system's packages where it is missing, gets the farm into /opt/seederfarm where
# this is no checkout, and starts it. Repeated, it updates the farm.
set -eu

say() { printf 'vps.sh: %s\n' "$*"; }
die() {
    printf 'vps.sh: %s\n' "$*" >&2
    exit 1
}

main() {
    [ $# -ge 1 ] || die "usage: vps.sh DOMAIN [REPOSITORY]"
    domain=$1 repository=${2-}
    case $domain in
    *[!A-Za-z0-9.-]* | -* | .* | "") die "$domain is no name of a server, such as farm.example.org" ;;
    esac
    [ "$(id -u)" = 0 ] || die "run it as root: sudo sh deploy/vps.sh $domain"
    here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." 2>/dev/null && pwd -P) || here=''
    [ -f "$here/docker-compose.yml" ] || here=''
    install_docker
    get_farm
    cd "$folder"
    settings
    docker compose up -d --build
    say "the farm starts at https://$domain/ (ports 80, 443, 6380 and UDP 49737 must be open)"
    say "the first password of \"admin\": docker compose exec web cat /var/lib/seederfarm/admin_password"
}

install_docker() {
    if docker compose version >/dev/null 2>&1; then return; fi
    command -v apt-get >/dev/null 2>&1 || die "Docker with Compose 2.24 is not installed: https://docs.docker.com/engine/install/"
    say "installing Docker"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -qy --no-install-recommends ca-certificates docker.io git
    apt-get install -qy --no-install-recommends docker-compose-v2 || apt-get install -qy --no-install-recommends docker-compose
    docker compose version >/dev/null 2>&1 ||
        die "this system's packages have no Compose 2: install Docker from https://docs.docker.com/engine/install/, then run this again"
}

get_farm() {
    folder=${here:-/opt/seederfarm}
    if [ -n "$repository" ] && [ -d "$folder/.git" ]; then
        git -C "$folder" pull --ff-only
    elif [ -z "$here" ]; then
        [ -n "$repository" ] || die "$folder has no farm: name the address of the repository as well"
        git clone --depth 1 "$repository" "$folder"
    fi
}

# Only what is not set yet: an operator's .env stays.
settings() {
    if [ ! -f .env ]; then
        (umask 077 && sed "s/^FARM_DOMAIN=.*/FARM_DOMAIN=$domain/" .env.example >.env)
    fi
    grep -q "^FARM_DOMAIN=$domain\$" .env || die ".env names another server: change FARM_DOMAIN there"
}

main "$@"
