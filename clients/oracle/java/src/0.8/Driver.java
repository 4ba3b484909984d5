/** The story of 0.8.2.2: its Java producer, and the Scala producer and consumer that need no ZooKeeper. */
final class Driver {
    private Driver() {}

    public static void main(String[] arguments) {
        Story story = Story.from(arguments);
        Producing.tell(story);
        Offsets.tell(story);
        story.end();
    }
}
