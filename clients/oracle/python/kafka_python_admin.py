"""One face for the admin clients of kafka-python 2 and 3, which share little but their name.

Every method returns what can be printed: names of errors, numbers, lists in order.
"""

import re

import kafka
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from story import until

MODERN = int(kafka.__version__.split(".")[0]) >= 3

SET_ON_TOPIC = (1, "DYNAMIC_TOPIC_CONFIG")  # the source of a configuration, in both clients' words


def verdict(code, message=None):
    """An error as it is printed."""
    return {"error": None if code == 0 else errors.for_code(code).__name__, "message": message}


def caught(error):
    """An error that was raised; version 2 hides the broker's message in the text of the whole response."""
    said = re.search(r"""error_message=(['"])(.*?)\1""", str(error))
    return {"error": type(error).__name__, "message": said and said[2]}


class Admin:
    """What both versions can do."""

    def __init__(self, bootstrap):
        self.client = KafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def cluster(self):
        seen = self.client.describe_cluster()
        return {
            "brokers": len(seen["brokers"]),
            "cluster id": bool(seen["cluster_id"]),
            "controller": seen["controller_id"] in [self.broker_id(broker) for broker in seen["brokers"]],
        }

    def names(self, prefix):
        return sorted(name for name in self.client.list_topics() if name.startswith(prefix))

    def topic(self, name):
        (seen,) = self.client.describe_topics([name])
        return {
            "topic": seen["name" if MODERN else "topic"],
            "error": verdict(seen["error_code"])["error"],
            "internal": seen["is_internal"],
            "partitions": sorted(map(self.partition, seen["partitions"]), key=lambda at: at["partition"]),
        }

    def partition(self, seen):
        modern = {"partition": "partition_index", "leader": "leader_id", "replicas": "replica_nodes", "isr": "isr_nodes"}
        leader, replicas, isr = (seen[modern[key] if MODERN else key] for key in ("leader", "replicas", "isr"))
        return {
            "partition": seen[modern["partition"] if MODERN else "partition"],
            "error": verdict(seen["error_code"])["error"],
            "led": leader in replicas,
            "replicas": len(replicas),
            "isr": len(isr),
        }

    def set_configs_of(self, topic):
        """The configurations that were set on a topic."""
        return {name: said["value"] for name, said in self.configs("TOPIC", topic).items() if said["source"] in SET_ON_TOPIC}

    def ready(self, name, partitions):
        """Waits until metadata shows a new topic, which they do some time after its creation."""
        def led():
            seen = self.topic(name)["partitions"]
            return len(seen) == partitions and all(partition["led"] for partition in seen)

        return until(led)


# A coordinator that is loading, not there yet, or elsewhere: version 3 asks again by itself.
NOT_YET = (14, 15, 16)


def patient(method):
    """Repeats what asks a coordinator until there is one."""

    def repeated(*arguments):
        answers = []

        def answered():
            try:
                answers.append(method(*arguments))
                return True
            except errors.KafkaError as error:
                if error.errno not in NOT_YET:
                    raise
                return False

        if not until(answered):
            raise TimeoutError("no coordinator")
        return answers[0]

    return repeated


class Admin2(Admin):
    @staticmethod
    def broker_id(broker):
        return broker["node_id"]

    def _raised(self, call, *arguments, **options):
        try:
            call(*arguments, **options)
            return verdict(0)
        except errors.KafkaError as error:
            return caught(error)

    def create(self, name, partitions, configs, replication=1, validate_only=False):
        from kafka.admin import NewTopic

        topic = NewTopic(name, partitions, replication, topic_configs=configs)
        return self._raised(self.client.create_topics, [topic], validate_only=validate_only)

    def add_partitions(self, name, total):
        from kafka.admin import NewPartitions

        return self._raised(self.client.create_partitions, {name: NewPartitions(total)})

    def delete(self, name):
        return self._raised(self.client.delete_topics, [name])

    def configs(self, kind, name):
        (response,) = self.client.describe_configs([ConfigResource(ConfigResourceType[kind], name)])
        ((code, message, _, _, entries),) = response.resources
        if code:
            raise errors.for_code(code)(message)
        fields = ("name", "value", "read_only", "source", "sensitive")
        return {entry[0]: dict(zip(fields, entry)) for entry in entries}

    def alter(self, name, configs):
        """Replaces what is set."""
        response = self.client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])
        ((code, message, _, _),) = response.resources
        return verdict(code, message)

    def groups(self, prefix):
        return sorted(list(group[:2]) for group in self.client.list_consumer_groups() if group[0].startswith(prefix))

    @patient
    def group(self, name):
        (seen,) = self.client.describe_consumer_groups([name])
        return {
            "state": seen.state,
            "type": seen.protocol_type,
            "protocol": seen.protocol,
            "members": [
                {
                    "topics": sorted(member.member_metadata.subscription),
                    "assigned": sorted([topic, sorted(numbers)] for topic, numbers in member.member_assignment.assignment),
                }
                for member in sorted(seen.members, key=lambda member: str(member.member_assignment))
                if member.member_assignment
            ],
        }

    @patient
    def group_offsets(self, name, partitions=None):
        seen = self.client.list_consumer_group_offsets(name, partitions=partitions)
        return sorted([at.topic, at.partition, committed.offset, committed.metadata] for at, committed in seen.items())

    @patient
    def delete_group(self, name):
        return [error.__name__ for _, error in self.client.delete_consumer_groups([name])]


class Admin3(Admin):
    @staticmethod
    def broker_id(broker):
        return broker["broker_id"]

    def create(self, name, partitions, configs, replication=1, validate_only=False):
        wanted = {name: {"num_partitions": partitions, "replication_factor": replication, "configs": configs}}
        (seen,) = self.client.create_topics(wanted, validate_only=validate_only, raise_errors=False)["topics"]
        shape = {} if seen["error_code"] else {"partitions": seen.get("num_partitions"), "replicas": seen.get("replication_factor")}
        told = {key: said["value"] for key, said in seen.get("configs", {}).items() if key in configs}
        return {**verdict(seen["error_code"], seen["error_message"]), **shape, "configs": told}

    def add_partitions(self, name, total):
        (seen,) = self.client.create_partitions({name: total}, raise_errors=False).results
        return verdict(seen.error_code, seen.error_message)

    def delete(self, name):
        (seen,) = self.client.delete_topics([name], raise_errors=False)["topics"]
        return verdict(seen["error_code"], seen.get("error_message"))

    def configs(self, kind, name):
        seen = self.client.describe_configs([ConfigResource(kind, name)], config_filter="all")
        return {
            key: {"value": said["value"], "read_only": said["read_only"], "source": said["config_source"],
                  "sensitive": said["is_sensitive"], "type": said.get("config_type")}
            for key, said in seen[kind.lower()][name].items()
        }

    def alter(self, name, configs, incremental=True):
        """Changes what is named: values, or pairs of an operation and a value."""
        wanted = [ConfigResource("TOPIC", name, configs=configs)]
        return self.client.alter_configs(wanted, raise_on_unknown=False, incremental=incremental)["topic"][name]

    def groups(self, prefix, **filters):
        fields = ("group_id", "protocol_type", "group_state", "group_type")
        seen = self.client.list_groups(**filters)
        return sorted([group.get(field) for field in fields] for group in seen if group["group_id"].startswith(prefix))

    def group(self, name):
        seen = self.client.describe_groups([name])[name]
        return {
            "state": seen["group_state"],
            "type": seen["protocol_type"],
            "protocol": seen["protocol_data"],
            "error": seen["error"],
            "members": sorted((self.member(member) for member in seen["members"]), key=str),
        }

    @staticmethod
    def member(seen):
        assigned, subscribed = seen["member_assignment"], seen["member_metadata"]
        return {
            "instance": seen["group_instance_id"],
            "topics": sorted(subscribed["topics"]) if subscribed else [],
            "assigned": sorted([part["topic"], sorted(part["partitions"])] for part in assigned["assigned_partitions"])
            if assigned else [],
        }

    def group_offsets(self, name, partitions=None):
        seen = self.client.list_group_offsets({name: partitions})[name]
        return sorted([at.topic, at.partition, committed.offset, committed.metadata] for at, committed in seen.items())

    def delete_group(self, name):
        return list(self.client.delete_groups([name]).values())


def open_admin(bootstrap):
    return (Admin3 if MODERN else Admin2)(bootstrap)
