#!/bin/sh
# Makes this machine a node of the pool; run once by cloud-init, as root, after the configuration has been written. HTCondor is installed if it is
# not in the image: from the distribution where that has it, else from the HTCondor project's repository.
set -eu
umask 022
here=$(dirname "$0")
root=${here%/usr/local/lib/modabatch} # empty, unless the files of the machine were laid out elsewhere
downloads=https://htcss-downloads.chtc.wisc.edu/repo
release=25.0

debian() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -y -q --no-install-recommends condor && return
    apt-get install -y -q --no-install-recommends ca-certificates curl
    curl -fsSL --retry 5 "$downloads/keys/HTCondor-$release-Key" -o "$root/etc/apt/keyrings/htcondor.asc"
    echo "deb [signed-by=/etc/apt/keyrings/htcondor.asc] $downloads/$ID/$release $VERSION_CODENAME main" >"$root/etc/apt/sources.list.d/htcondor.list"
    apt-get update -q
    apt-get install -y -q --no-install-recommends condor
}

enterprise_linux() {
    dnf install -y epel-release 'dnf-command(config-manager)' || true # already there, or under another name, on some
    dnf config-manager --set-enabled crb || true
    dnf install -y "$downloads/$release/htcondor-release-current.el${VERSION_ID%%.*}.noarch.rpm"
    dnf install -y condor
}

install_condor() {
    . "$root/etc/os-release"
    mkdir -p "$root/etc/apt/keyrings"
    case " $ID ${ID_LIKE:-} " in
        *" debian "* | *" ubuntu "*) debian ;;
        *" rhel "* | *" centos "* | *" fedora "*) enterprise_linux ;;
        *) echo "No HTCondor is known for $ID: use an image with HTCondor inside." >&2; exit 1 ;;
    esac
}

# A package may start HTCondor at once, so nothing of it comes before this.
"$here/metadata.sh"
chmod 0700 "$root/etc/condor/modabatch/tokens.d" "$root/etc/condor/modabatch/keys.d"
command -v condor_master >/dev/null || install_condor
# Stopped before its service learns that the machine goes off when it ends.
systemctl stop condor || true
mkdir -p "$root/etc/systemd/system/condor.service.d"
cp "$here/condor.service.conf" "$root/etc/systemd/system/condor.service.d/modabatch.conf"
systemctl daemon-reload
systemctl enable condor
systemctl start condor
