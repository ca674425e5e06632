#!/bin/bash
# Run by the startd now and then: tells when the pool's collector could last be reached. It is enough that it takes a connection: whoever runs this
# may have no token to ask it anything.
set -u
address=$1
host=${address%:*}
port=${address##*:}
[ "$port" != "$address" ] || port=9618
host=${host#[}
host=${host%]}
if timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null; then
    date '+ModabatchHeard = %s'
fi
