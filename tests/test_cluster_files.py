"""The cluster files: read as Ray reads them, launched in a made-up AWS, closed to the world."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import moto
import pytest
import yaml
from moto.ec2.models.instance_types import InstanceTypeBackend
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.aws import utils as ray_aws_utils
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).parent.parent / "cluster"
LAUNCHED = ("aws", "gcp", "local")  # by `ray up`
WORLD = ("0.0.0.0/0", "::/0")
REGION = "us-west-2"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def start_commands(config: dict[str, Any]) -> list[str]:
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    return [command for command in commands if "ray start" in command]


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_takes_the_file(name):
    config = prepare_config(read(name))
    validate_config(config)
    assert "0.0.0.0" not in (FOLDER / f"{name}.yaml").read_text()
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**config, "max_worker": 3})


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_node_asks_for_the_token_and_the_dashboard_is_on_loopback(name):
    config = read(name)
    head, worker = start_commands(config)
    for command in (head, worker):
        assert re.match(r"export RAY_AUTH_MODE=token[ ;]", command)
    assert "--head" in head and "--dashboard-host=127.0.0.1" in head
    assert "--address=$RAY_HEAD_IP:6379" in worker
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_the_head_stays_and_workers_come_and_go_on_the_spot_market(name):
    config = prepare_config(read(name))
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0}, "trials would run on the head"
    spot = {
        "aws": lambda node: node.get("InstanceMarketOptions") == {"MarketType": "spot"},
        "gcp": lambda node: node.get("scheduling", {}).get("provisioningModel") == "SPOT",
    }[name]
    assert not spot(head["node_config"])
    assert all(spot(node["node_config"]) for node in types.values())
    assert all(node["min_workers"] == 0 for node in types.values())
    assert not config["provider"]["cache_stopped_nodes"] and config["idle_timeout_minutes"] <= 10
    assert config["docker"]["image"] and "-v /mnt/fastgan:/mnt/fastgan" in str(config["docker"])


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """A made-up AWS with what cluster/README.md has one make; its EC2 client."""
    every = InstanceTypeBackend.instance_types
    few = [kind for kind in every if kind.name[:3] in ("g5.", "g6.", "m5.", "p5.")]
    monkeypatch.setattr(InstanceTypeBackend, "instance_types", few)  # to list all takes seconds
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("HOME", str(tmp_path))
    for cached in (ray_aws_utils.resource_cache, ray_aws._get_subnets_or_die):
        cached.cache_clear()
    with moto.mock_aws():
        iam = boto3.client("iam", region_name=REGION)
        name = ray_aws.DEFAULT_RAY_INSTANCE_PROFILE  # or Ray makes it, and sleeps for 30 s
        iam.create_instance_profile(InstanceProfileName=name)
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        yield boto3.client("ec2", region_name=REGION)
    ray_aws_utils.resource_cache.cache_clear()


def launchable(ec2: Any, source: str) -> dict[str, Any]:
    """The AWS file with what is marked `yours` filled in."""
    subnets = ec2.describe_subnets()["Subnets"]
    subnet = next(s for s in subnets if s["AvailabilityZone"] == f"{REGION}a")
    group = ec2.create_security_group(
        GroupName="fastgan", Description="fastgan-ray", VpcId=subnet["VpcId"]
    )["GroupId"]
    inside = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ssh = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": source}],
    }
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[inside, ssh])
    text = (FOLDER / "aws.yaml").read_text()
    for ours, theirs in (
        ("subnet-YOURS", subnet["SubnetId"]),
        ("sg-YOURS", group),
        ("ami-YOURS", "ami-0123456789abcdef0"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    return yaml.safe_load(text)


def open_to_the_world(ec2: Any) -> list[str]:
    """The names of security groups that let anyone in."""
    return [
        group["GroupName"]
        for group in ec2.describe_security_groups()["SecurityGroups"]
        for rule in group["IpPermissions"]
        for found in (*rule["IpRanges"], *rule.get("Ipv6Ranges", []))
        if found.get("CidrIp") in WORLD or found.get("CidrIpv6") in WORLD
    ]


def test_aws_file_is_made_ready_for_launch(aws):
    config = _bootstrap_config(launchable(aws, "198.51.100.7/32"), no_config_cache=True)
    types = config["available_node_types"]
    gpus = {name: node["resources"].get("GPU") for name, node in types.items()}
    assert gpus == {"head": None, "g5": 1, "g6": 1, "p5": 8}  # from Amazon's own list of types
    assert types["head"]["resources"]["CPU"] == 0
    for node in types.values():
        assert len(node["node_config"]["SecurityGroupIds"]) == 1
        assert node["node_config"]["KeyName"].startswith("ray-autoscaler")
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    assert open_to_the_world(aws) == []


def test_a_type_without_a_security_group_would_be_open_to_the_world(aws):
    """Why the file names one: Ray's own lets anyone in on port 22."""
    config = launchable(aws, "198.51.100.7/32")
    for node in config["available_node_types"].values():
        del node["node_config"]["SecurityGroupIds"]
    _bootstrap_config(config, no_config_cache=True)
    assert set(open_to_the_world(aws)) == {"ray-autoscaler-fastgan"}


def test_kuberay_job():
    job = read("kuberay")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["entrypoint"].startswith("python -m fastgan_ray.tune --config ")
    assert spec["entrypoint"].endswith("--address auto")
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    (workers,) = cluster["workerGroupSpecs"]
    # A search sees no types of workers here, only workers: one must be there when it begins.
    assert workers["minReplicas"] == workers["replicas"] == 1 < workers["maxReplicas"]
    assert cluster["enableInTreeAutoscaling"] is True
    containers = []
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        containers.append(container)
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert containers[1]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_all_nodes_run_one_image_of_one_ray():
    images = {
        read("aws")["docker"]["image"],
        read("gcp")["docker"]["image"],
        *re.findall(r"image: (\S+)", (FOLDER / "kuberay.yaml").read_text()),
        *re.findall(r"docker build .* -t (\S+)", (FOLDER / "Dockerfile").read_text()),
    }
    assert len(images) == 1
    version = read("kuberay")["spec"]["rayClusterSpec"]["rayVersion"]
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert f"FROM rayproject/ray:{version}-py311" in dockerfile
    assert f"ray[default]=={version}" in dockerfile
    project = (FOLDER.parent / "pyproject.toml").read_text()
    low = re.search(r'"ray\[default,train,tune\]>=([\d.]+),', project)[1]
    assert version.startswith(low)
