import java.util.List;
import java.util.Set;
import org.apache.kafka.common.TopicPartition;

/** Members with a name: one that comes back finds its partitions, one that takes a name drives out its bearer. */
final class StaticMembers implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        story.step("static members", rows -> {
            List<TopicPartition> partitions = client.partitions("static", 4);
            List<String> topics = Client.topics(partitions);
            String group = story.name("static");
            try (Member first = new Member(client.consumer("group.id", group, "group.instance.id", "a"), topics)) {
                Member.settle(partitions, first);
                Set<TopicPartition> had;
                try (Member second = new Member(client.consumer("group.id", group, "group.instance.id", "b"), topics)) {
                    Member.settle(partitions, first, second);
                    Member.show(rows.row(), first, second);
                    had = second.has();
                }
                int before = first.assignments();
                try (Member again = new Member(client.consumer("group.id", group, "group.instance.id", "b"), topics)) {
                    Member.settle(partitions, first, again);
                    rows.row().with("finds what it had", had.equals(again.has()))
                            .with("others notice", first.assignments() != before);
                    try (Member twin = new Member(client.consumer("group.id", group, "group.instance.id", "b"), topics)) {
                        rows.row().put("driven out", again.ended());
                        Member.settle(partitions, first, twin);
                        Member.show(rows.row(), first, twin);
                    }
                }
            }
        });
    }
}
