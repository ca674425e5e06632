#!/bin/sh
# Keeps everybody but root from the providers' metadata addresses, where the user-data could be read. May be run again; fails if it cannot do it all.
# Names are looked up at the same address on some clouds (port 53), which stays open.
set -eu
addresses4="169.254.169.254 100.100.100.200"
addresses6="fd00:ec2::254 fd20:ce::254"

with_nft() {
    # One transaction: the table is there as a whole or not at all.
    nft -f - <<RULES
table inet modabatch
delete table inet modabatch
table inet modabatch {
    chain output {
        type filter hook output priority 0; policy accept;
        ip daddr { $(echo $addresses4 | sed 's/ /, /g') } meta skuid != 0 tcp dport != 53 reject
        ip6 daddr { $(echo $addresses6 | sed 's/ /, /g') } meta skuid != 0 tcp dport != 53 reject
    }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip daddr { $(echo $addresses4 | sed 's/ /, /g') } tcp dport != 53 reject
        ip6 daddr { $(echo $addresses6 | sed 's/ /, /g') } tcp dport != 53 reject
    }
}
RULES
}

rule() { # PROGRAM CHAIN MATCH...
    program=$1 chain=$2
    shift 2
    "$program" -C "$chain" "$@" -p tcp '!' --dport 53 -j REJECT 2>/dev/null ||
        "$program" -I "$chain" "$@" -p tcp '!' --dport 53 -j REJECT
}

block() { # PROGRAM ADDRESS...
    program=$1
    shift
    for address in "$@"; do
        rule "$program" OUTPUT -d "$address" -m owner '!' --uid-owner 0
        rule "$program" FORWARD -d "$address"
    done
}

with_iptables() {
    block iptables $addresses4
    [ ! -e /proc/net/if_inet6 ] || block ip6tables $addresses6
}

if command -v nft >/dev/null; then with_nft; else with_iptables; fi
