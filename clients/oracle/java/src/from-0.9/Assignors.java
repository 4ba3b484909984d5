import java.util.List;
import org.apache.kafka.common.TopicPartition;

/** Groups of two members, one of which leaves, with every assignor that the client has. */
final class Assignors implements Chapter {
    private static final String PACKAGE = "org.apache.kafka.clients.consumer.";

    @Override
    public void tell(Story story, Client client) {
        for (String assignor : new String[] {"Range", "RoundRobin", "Sticky", "CooperativeSticky"}) {
            String name = PACKAGE + assignor + "Assignor";
            if (getClass().getClassLoader().getResource(name.replace('.', '/') + ".class") != null) {
                story.step("two members, " + assignor, rows -> two(story, client, name, rows));
            }
        }
    }

    private static void two(Story story, Client client, String assignor, Story.Rows rows) throws Exception {
        String name = "two-" + assignor.substring(PACKAGE.length());
        List<TopicPartition> partitions = client.partitions(name, 4);
        List<String> topics = Client.topics(partitions);
        String[] config = {"group.id", story.name(name), "partition.assignment.strategy", assignor};
        try (Member first = new Member(client.consumer(config), topics)) {
            Member.settle(partitions, first);
            Member.show(rows.row(), first);
            try (Member second = new Member(client.consumer(config), topics)) {
                Member.settle(partitions, first, second);
                Member.show(rows.row(), first, second);
            }
            Member.settle(partitions, first);
            Member.show(rows.row(), first);
        }
    }
}
