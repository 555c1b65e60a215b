#!/usr/bin/env bash
# Part "bare_machine" of make test-full: a Debian 12 that has nothing, not even a Docker client, gets a clone of HEAD and
# `make up`, twice. Images and programs are at hand (this machine's cache); BARE_COLD=1 builds them there too (about half an hour more).
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${TOVPLAY_CACHE:=$HOME/.cache/tovplay}"
name=tovplay-bare-machine
inside() { docker exec "$name" bash -euc "$*"; }
trap 'docker rm --force --volumes "$name" >/dev/null' EXIT

volumes=(--volume /sys/fs/cgroup:/sys/fs/cgroup:rw --volume /var/lib/docker)
[ "${BARE_COLD:-}" = 1 ] || volumes+=(--volume "$TOVPLAY_CACHE:/cache:ro")
# The authorities that this machine trusts, where a company's proxy is one of them.
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || volumes+=(--volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro)
docker rm --force --volumes "$name" >/dev/null 2>&1 || [ $? -eq 1 ]   # 1: there was none
docker run --detach --name "$name" --init --cgroupns host --tmpfs /run --tmpfs /tmp:exec "${volumes[@]}" \
    --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add LINUX_IMMUTABLE --cap-add SYS_PTRACE \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    tovplay/debian:bookworm sleep infinity >/dev/null

printf '== What a bare Debian 12 lacks to clone and to call make\n'
inside 'type -P docker dockerd python3 go git make || printf "the others are missing\n"'
inside 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git make >/dev/null'
git bundle create - HEAD | docker exec --interactive "$name" bash -c 'cat >/root/tovplay.bundle'
inside 'git clone --quiet /root/tovplay.bundle /root/tovplay'
# Copies, since a build writes its index beside them.
[ "${BARE_COLD:-}" = 1 ] || inside 'cd /cache && mkdir -p /root/.cache/tovplay && cp -a --parents images go/out bin /root/.cache/tovplay'

for run in first second; do
    printf '== make up, %s run\n' "$run"
    started=$SECONDS
    inside 'cd /root/tovplay && NO_COLOR=1 make up' | tee "$TOVPLAY_CACHE/log/bare-$run.log"
    printf '== make up, %s run: %d s\n' "$run" "$((SECONDS - started))"
done
if grep -E '^tovplay-(prod|watch) .*changed=[1-9]' "$TOVPLAY_CACHE/log/bare-second.log"; then
    printf 'bare_machine: the second run changed something.\n' >&2
    exit 1
fi
printf '1 passed, 0 failed\n'
