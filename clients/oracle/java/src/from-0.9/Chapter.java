/** A part of the story; needs nothing of the others. */
interface Chapter {
    void tell(Story story, Client client);
}
