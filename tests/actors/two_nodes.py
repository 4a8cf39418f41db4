"""A Ray cluster of two nodes on this machine, in a process of its own: ``python -m tests.actors.two_nodes``.

Prints its address, and what ``on`` made of eight actors. A line on its standard input ends the second node, another one all.
"""

import sys

import ray
from ray.cluster_utils import Cluster as Nodes

from actors.device import on


class Where:
    """An actor that asks for nothing, as those of the platform do."""

    def node(self) -> str:
        """Where it is."""
        return str(ray.get_runtime_context().get_node_id())


def main() -> None:
    """Start, tell, wait, lose, wait, end."""
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    asked = [node["NodeID"] for node in ray.nodes()] * 4
    actors = [ray.remote(num_cpus=0)(Where).options(**on(node)).remote() for node in asked]
    found = ray.get([actor.node.remote() for actor in actors])
    print(nodes.address, "as asked" if found == asked else f"asked {asked}, found {found}", flush=True)
    del actors
    sys.stdin.readline()
    nodes.remove_node(second, allow_graceful=False)
    sys.stdin.readline()
    ray.shutdown()
    nodes.shutdown()


if __name__ == "__main__":
    main()
