"""Synthesised stacks, deployed into the emulator through its CloudFormation."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pricer import aws

if TYPE_CHECKING:
    from pathlib import Path

BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]


def deploy(templates: Path, name: str = "Pricer") -> dict[str, str]:
    """Deploy the stacks `name`-data and `name` of a folder of templates; return the outputs."""
    aws.client("ssm").put_parameter(Name=BOOTSTRAP, Value="30", Type="String", Overwrite=True)
    for stack in (f"{name}-data", name):
        template = json.loads((templates / f"{stack}.template.json").read_text())
        outputs = create_stack(stack, template)
    return outputs


def create_stack(name: str, template: dict[str, Any]) -> dict[str, str]:
    """Create one stack; return its outputs."""
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=name, TemplateBody=json.dumps(template), Capabilities=CAPABILITIES
    )
    while True:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.05)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [e["ResourceStatusReason"] for e in events if "ResourceStatusReason" in e]
        raise RuntimeError(f"stack {name}: {stack['StackStatus']}: {'; '.join(reasons)}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
