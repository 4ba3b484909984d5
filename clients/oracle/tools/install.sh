# Part of `clients/install`: the driver of Kafka's command line tools, which are jars of the part `java`.

install_oracle-tools() {
    part java java
    local tools
    rm -rf "$cache/oracle-tools"
    for tools in tools kafka-3.9; do
        javac -nowarn -Xlint:none -XDsuppressNotes -d "$cache/oracle-tools/$tools" -cp "$cache/java/$tools/libs/*" \
            "$clients"/oracle/java/src/story/*.java "$clients"/oracle/tools/src/*.java >&2
    done
}
