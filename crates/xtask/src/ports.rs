//! Nothing of a shipped crate reaches the operating system past the ports of `base`, and nothing in it chooses in an
//! order that cannot be seeded. Clippy's lists (`clippy.toml`) hold the calls that tests must not make either; what only
//! shipped code must not do is held here.

use std::collections::BTreeSet;
use std::fs;

use crate::tidy::{LAYERS, crates, rust_files};
use crate::workspace::root;

/// A way past a port.
struct Way {
    /// How it is written.
    words: &'static [&'static str],
    /// What to use.
    instead: &'static str,
    /// Who may, each being a port itself: files, or folders with everything in them.
    homes: &'static [&'static str],
}

const WAYS: &[Way] = &[
    Way {
        words: &["tokio::net", "TcpStream", "TcpListener", "UdpSocket", "UnixStream", "socket2", "ToSocketAddrs"],
        instead: "base::net",
        homes: &["base/src/net/system.rs"],
    },
    Way {
        words: &["std::fs", "tokio::fs", "rustix::fs", "std::os::unix::fs"],
        instead: "base::file",
        // The directory store is a backend, and a simulation has another.
        homes: &["base/src/file/system.rs", "blob/src/local"],
    },
    Way { words: &["tokio::select!"], instead: "base::select!", homes: &["base/src/select.rs"] },
    Way {
        words: &["hashbrown::", "std::collections::HashMap", "std::collections::HashSet", "RandomState"],
        instead: "base::collections",
        homes: &["base/src/collections.rs", "base/src/select.rs"],
    },
];

/// The part of a file that ships, without comments, with nested imports written out.
fn shipped(text: &str) -> String {
    const TEST: &str = "#[cfg(test)]\n";
    let is_module = |at: &usize| {
        let next = text[at + TEST.len()..].lines().next().unwrap_or_default();
        next.contains("mod ") && next.ends_with('{')
    };
    let tests = text.match_indices(TEST).map(|(at, _)| at).find(is_module);
    let text = &text[..tests.unwrap_or(text.len())];
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut code = code.join("\n");
    for module in ["std", "std::collections", "tokio", "std::os::unix", "rustix"] {
        let open = format!("use {module}::{{");
        while let Some(at) = code.find(&open) {
            let rest = &code[at + open.len()..];
            let Some(end) = rest.find("};") else { break };
            // What is nested deeper keeps its braces, and its first word is what counts.
            let names: Vec<String> =
                rest[..end].split(',').map(|name| format!("use {module}::{};", name.trim())).collect();
            code = format!("{}{}{}", &code[..at], names.join("\n"), &rest[end + 2..]);
        }
    }
    code
}

/// Whether the words stand there, not as the end of a longer path or the beginning of a longer name.
fn holds(code: &str, words: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(words).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + words.len()..].chars().next();
        let open_ended = words.ends_with(|c: char| !is_name(c));
        !before.is_some_and(|c| is_name(c) || c == ':') && (open_ended || !after.is_some_and(is_name))
            || words.starts_with(char::is_uppercase) && before == Some(':') && !after.is_some_and(is_name)
    })
}

fn ways_past(file: &str, text: &str) -> BTreeSet<&'static str> {
    let code = shipped(text);
    let past = |way: &&Way| {
        let at_home = way.homes.iter().any(|home| file == *home || file.starts_with(&format!("{home}/")));
        !at_home && way.words.iter().any(|words| holds(&code, words))
    };
    WAYS.iter().filter(past).map(|way| way.instead).collect()
}

#[test]
fn nothing_that_ships_goes_past_a_port() {
    let mut found = BTreeSet::new();
    for (name, path, _) in crates() {
        if !LAYERS.iter().any(|(layered, _)| *layered == name) {
            continue;
        }
        let mut files = Vec::new();
        rust_files(&path.join("src"), &mut files);
        for file in files {
            if file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let short = file.strip_prefix(root().join("crates")).unwrap().display().to_string();
            found.extend(ways_past(&short, &text).into_iter().map(|instead| (short.clone(), instead)));
        }
    }
    assert!(found.is_empty(), "these go past a port; use what stands beside them: {found:#?}");
}

#[test]
fn a_way_past_a_port_is_found_however_it_is_written() {
    let past = |text: &str| ways_past("broker/src/x.rs", text).into_iter().collect::<Vec<_>>();
    assert_eq!(past("use std::fs;\n"), ["base::file"]);
    assert_eq!(past("use std::{fs, io};\n"), ["base::file"]);
    assert_eq!(past("use std::collections::{BTreeMap,\n    HashMap};\n"), ["base::collections"]);
    assert_eq!(past("let map = hashbrown::HashMap::default();"), ["base::collections"]);
    assert_eq!(past("let s = tokio::net::TcpStream::connect(a);"), ["base::net"]);
    assert_eq!(past("use tokio::{io, net::TcpStream};\n"), ["base::net"]);
    assert_eq!(past("tokio::select! { a = b => {} }"), ["base::select!"]);
    assert_eq!(past("base::select! { a = b => {} }"), [""; 0]);
    assert_eq!(past("use base::collections::HashMap; use base::net::Stream;"), [""; 0]);
    assert_eq!(past("use std::net::SocketAddr; use std::collections::BTreeMap;"), [""; 0], "names and orders");
    assert_eq!(past("// std::fs in words\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"), [""; 0], "tests may");
    assert_eq!(past("#[cfg(test)]\nmod tests;\nuse std::fs;"), ["base::file"], "behind tests that lie elsewhere");
    assert_eq!(ways_past("blob/src/local/write.rs", "use std::fs;").len(), 0, "a home");
}
