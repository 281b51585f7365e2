"""Evaluates the Tiltfile with a Starlark interpreter against stubs of Tilt's functions, and checks what it would do.

    tiltfile.py KUBECTL              checks everything; every failure is a line, and status 1
    tiltfile.py KUBECTL --button     prints the command of the button that books a trip

The stubs have the parameters of Tilt's API reference (https://docs.tilt.dev/api.html): a misspelt one is an error here too.
"""

import pathlib
import subprocess
import sys

import starlark

repository = pathlib.Path(__file__).resolve().parents[2]
kubectl = sys.argv[1]
contexts, images, rendered, resources, local = [], {}, [], {}, {}
problems = []


def check(condition, problem):
    if not condition:
        problems.append(problem)


def path(name):
    check((repository / name).exists(), f"{name} does not exist")
    return repository / name


def allow_k8s_contexts(names):
    contexts.extend([names] if isinstance(names, str) else names)


def sync(local_path, remote_path):
    path(local_path)
    check(remote_path.startswith("/"), f"sync wants an absolute path in the container, not {remote_path}")
    return {"sync": [local_path, remote_path]}


def docker_build(
    ref, context, build_args={}, dockerfile="Dockerfile", dockerfile_contents="", live_update=[], match_in_env_vars=False,
    ignore=[], only=[], entrypoint=[], target="", ssh=[], secret=[], network="", extra_tag=[], container_args=None,
    cache_from=[], pull=False, platform="", extra_hosts=[],
):  # fmt: skip
    folder = path(context)
    arguments = {line.split()[1].split("=")[0] for line in path(dockerfile).read_text().splitlines() if line.startswith("ARG ")}
    for name in build_args:
        check(name in arguments, f"the Dockerfile has no ARG {name}")
    for name in only:
        check((folder / name).exists(), f"only: {name} does not exist")
    copied = {
        word
        for line in path(dockerfile).read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
        if not word.startswith("--")
    }
    for name in copied - {"deploy/prebuilt/"}:
        check(name in only, f"the Dockerfile copies {name}, which `only` leaves out")
    for step in live_update:
        check(step["sync"][0] in only, f"Tilt refuses to sync {step['sync'][0]}, which is not part of the image's context")
    images[ref] = {"live_update": live_update}


def local_command(command, quiet=False, command_bat="", echo_off=False, env={}, dir="", stdin=None):
    for word in command.split():
        if word.startswith("deploy/"):
            path(word)
    return ""


def kustomize(pathToDir, kustomize_bin=None, flags=[]):
    done = subprocess.run([kubectl, "kustomize", path(pathToDir)], capture_output=True, text=True)
    check(done.returncode == 0, f"{pathToDir}: {done.stderr}")
    return done.stdout


def k8s_yaml(yaml, allow_duplicates=False):
    rendered.extend(part for part in yaml.split("\n---\n") if part.strip())


def link(url, name=""):
    return {"link": [url, name]}


def k8s_resource(
    workload="", new_name="", port_forwards=[], extra_pod_selectors=[], trigger_mode=None, resource_deps=[], objects=[],
    auto_init=True, pod_readiness="", links=[], labels=[], discovery_strategy="",
):  # fmt: skip
    forwards = [port_forwards] if isinstance(port_forwards, (str, int)) else port_forwards
    resources[new_name or workload] = {"workload": workload, "forwards": forwards, "deps": resource_deps, "labels": labels}


def local_resource(
    name, cmd="", deps=[], trigger_mode=None, resource_deps=[], ignore=[], auto_init=True, serve_cmd="", cmd_bat="",
    serve_cmd_bat="", allow_parallel=False, links=[], labels=[], env={}, serve_env={}, readiness_probe=None, dir="",
    serve_dir="",
):  # fmt: skip
    local[name] = {"cmd": cmd, "trigger_mode": trigger_mode, "auto_init": auto_init, "deps": resource_deps, "labels": labels}


def lines(document, key):
    """The values of `key: value` lines of a rendered document."""
    found = (line.strip().removeprefix("- ") for line in document.splitlines())
    return [line.split(": ", 1)[1].strip('"') for line in found if line.startswith(f"{key}: ")]


def name_of(document):
    inside = document[document.index("\nmetadata:") :]
    return next(line.split(": ")[1] for line in inside.splitlines() if line.startswith("  name: "))


module = starlark.Module()
for function in (
    allow_k8s_contexts, docker_build, sync, kustomize, k8s_yaml, k8s_resource, link, local_resource,
):  # fmt: skip
    module.add_callable(function.__name__, function)
module.add_callable("local", local_command)
module["TRIGGER_MODE_MANUAL"] = "manual"
module["TRIGGER_MODE_AUTO"] = "auto"
source = (repository / "Tiltfile").read_text()
starlark.eval(module, starlark.parse("Tiltfile", source), starlark.Globals.standard())

if "--button" in sys.argv:
    print(local["book a trip"]["cmd"])
    sys.exit(0)

workloads = {name_of(d): d for d in rendered if lines(d, "kind")[0] in ("Deployment", "StatefulSet")}
check(set(workloads) == {"gateway", "driver", "trip", "kafka"}, f"deployed are {sorted(workloads)}")
check(contexts, "no context is allowed: Tilt would deploy to none but the local ones it knows")
for name, resource in resources.items():
    check(resource["workload"] in workloads, f"resource {name}: there is no workload {resource['workload']}")
    ports = lines(workloads.get(resource["workload"], ""), "containerPort")
    for forward in resource["forwards"]:
        check(str(forward).split(":")[-1] in ports, f"resource {name}: no container port for {forward}")
for name, workload in workloads.items():
    check(name in resources, f"workload {name} has no resource: no label, no port, no order")
    for image in lines(workload, "image"):
        if image.startswith("cabstand"):
            check(image.split(":")[0] in images, f"workload {name}: nobody builds {image}")
            check("readOnlyRootFilesystem: false" in workload, f"workload {name}: Tilt cannot write into it")
everything = {**resources, **local}
for name, resource in everything.items():
    check(resource["labels"], f"{name} has no label")
    for needed in resource["deps"]:
        check(needed in everything, f"{name} waits for {needed}, which does not exist")
check(any(image["live_update"] for image in images.values()), "nothing is updated live")
button = local.get("book a trip", {})
check(button.get("trigger_mode") == "manual" and button.get("auto_init") is False, "the button must not press itself")
for problem in problems:
    print(f"failed: {problem}")
print(f"Tiltfile: {len(images)} image, {len(resources)} workloads, {len(local)} button, {len(problems)} failures")
sys.exit(1 if problems else 0)
