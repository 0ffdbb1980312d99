#!/bin/sh
# Installs the Debian packages of other people's software that tests run against: those that lack, in one call, without
# starting their services. Where this user may not, it says which tests will be skipped; it never fails a build.
# Options are apt-get's own: tests/peers/install.sh -o Acquire::Retries=3
missing="" skipped=""
lacks() { missing="$missing $1"; skipped="$skipped
  $2"; }
modules="/usr/lib/*/kamailio/modules"
command -v sipp >/dev/null || lacks sip-tester "SIPp registers and calls (tests/peers/test_sipp.py, test_kamailio.py)"
command -v tshark >/dev/null || lacks tshark "Wireshark reads every message (tests/peers)"
ls $modules/ims_icscf.so >/dev/null 2>&1 ||
  lacks "kamailio kamailio-ims-modules kamailio-extra-modules kamailio-presence-modules" \
    "Kamailio's P-, I- and S-CSCF use this HSS (tests/peers/test_kamailio.py)"
ls $modules/tls.so >/dev/null 2>&1 ||
  lacks "kamailio kamailio-tls-modules" "Kamailio as another operator (tests/peers/test_kamailio_partner.py)"
command -v freeDiameterd >/dev/null || lacks freediameter "freeDiameter as a Diameter peer (tests/peers/test_freediameter.py)"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || lacks postgresql "the store on PostgreSQL (tests/hss)"
command -v linux.uml >/dev/null || lacks "user-mode-linux kmod" "the Linux kernel's ESP and SCTP (tests/gm, tests/diameter)"
command -v ip >/dev/null || lacks iproute2 "network namespaces (tests/gm/test_raw_tcp.py)"
command -v charon-systemd >/dev/null ||
  lacks "charon-systemd libstrongswan-standard-plugins libstrongswan-extra-plugins libcharon-extra-plugins" \
    "strongSwan as security gateways (tests/ndm)"
command -v nft >/dev/null || lacks nftables "the kernel's packet filter (tests/ndm, tests/network/test_exposure.py)"
command -v unbound >/dev/null || lacks unbound "a resolver validates the zones of redoubt dns (tests/peers/test_unbound.py)"
command -v cc >/dev/null || lacks "gcc libc6-dev" "a file layer that drops what was not synced (tests/hss/crash)"
[ -z "$missing" ] && exit 0

policy=/usr/sbin/policy-rc.d
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing$missing ..."
  # Debian asks this program whether a service may be started: not by us (a SIP proxy would take port 5060).
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && trap 'rm -f $policy' EXIT; }
  apt-get update -qq "$@" || true
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" $missing >/dev/null && exit 0
fi
echo "These Debian packages are not here and can't be installed by this user:$missing
Skipped without them:$skipped"
