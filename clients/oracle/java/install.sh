# Part of `clients/install`: the Java drivers, each version's in a folder of its own.

# at_least VERSION LEAST
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# The folders of `src` that make up the driver of a version: what all share, every `from-` that it has reached, every
# `until-` that it has not passed, and the newest `calls-` that it has reached. Before 0.9 nothing was as it is now.
oracle_java_sources() {
    local version="$1" src="$clients/oracle/java/src" folder calls=""
    echo "$src/story"
    if ! at_least "$version" 0.9; then echo "$src/0.8"; return; fi
    for folder in "$src"/from-*; do
        if at_least "$version" "${folder##*-}"; then echo "$folder"; fi
    done
    # Every chapter that ends needs the admin client, which came with 0.11.
    for folder in "$src"/until-*; do
        if at_least "$version" 0.11 && at_least "${folder##*-}.99" "$version"; then echo "$folder"; fi
    done
    for folder in $(printf '%s\n' "$src"/calls-* | sort -V); do
        if at_least "$version" "${folder##*-}"; then calls="$folder"; fi
    done
    echo "$calls"
}

install_oracle-java() {
    command -v javac >/dev/null || apt_install openjdk-17-jdk-headless
    command -v mvn >/dev/null || apt_install maven
    local home="$cache/oracle-java" version sources
    rm -rf "$home"
    mvn -q -B -T 2 -f "$clients/oracle/java/pom.xml" -Dheadwater.cache="$home" dependency:copy-dependencies >&2
    for version in "$home"/*; do
        version="${version##*/}"
        sources="$(oracle_java_sources "$version")"
        javac -nowarn -Xlint:none -XDsuppressNotes -d "$home/$version/classes" -cp "$home/$version/libs/*" \
            $(for folder in $sources; do echo "$folder"/*.java; done) >&2
    done
}
