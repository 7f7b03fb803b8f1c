#!/bin/sh
# Start the broker: the farm's account as `init` made it, the workers' accounts as they were.
set -eu
umask 077
accounts=/data/users.acl
touch "$accounts"
{
    echo 'user default off'
    cat /run/farm/farm.acl
    grep -v -e '^user default ' -e '^user farm ' "$accounts" || true
} >"$accounts.new"
mv "$accounts.new" "$accounts"
server=$(command -v valkey-server || command -v redis-server)
exec "$server" /etc/farm/redis.conf
