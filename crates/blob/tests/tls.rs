//! A store behind TLS: one back end is there, and `SSL_CERT_FILE` says whom it trusts.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use blob::{Purpose, Store, StoreError, StoreOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the process that plays the client is told the store's URL.
const URL: &str = "HEADWATER_TEST_TLS_URL";
/// What the server says of the object, so that only an answer that came through can hold it.
const LENGTH: u64 = 4711;

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Answers every request of every connection alike; a client that refuses the certificate ends its connection.
fn serve(listener: &TcpListener) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(versions.with_no_client_auth().with_single_cert(chain, key).unwrap());
    for stream in listener.incoming() {
        let mut stream =
            rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
        let mut request = [0; 16 << 10];
        if stream.read(&mut request).is_ok_and(|read| read > 0) {
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
    }
}

/// What the client says, in a process whose environment is its own; `None` when it is served.
fn refusal(url: &str, trusts: &Path) -> Option<String> {
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_client_of_the_other_test", "--nocapture"])
        .env(URL, url)
        .env("SSL_CERT_FILE", trusts)
        .env_remove("SSL_CERT_DIR")
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("NO_PROXY", "localhost")])
        .output()
        .unwrap();
    let said = [client.stdout, client.stderr].concat();
    (!client.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_store_behind_tls_is_trusted_by_the_authorities_of_ssl_cert_file() {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let url = format!("s3://bucket?endpoint=https://localhost:{}", listener.local_addr().unwrap().port());
    base::task::spawn_thread("tls-server", move || serve(&listener)).unwrap();
    assert_eq!(refusal(&url, &file("authority.pem")), None, "its authority is named");
    let other = refusal(&url, &file("another.pem")).unwrap();
    assert!(other.contains("invalid peer certificate: UnknownIssuer"), "an authority, but not the server's: {other}");
    let none = refusal(&url, &file("none.pem")).unwrap();
    assert!(none.contains("name a file of them in SSL_CERT_FILE"), "no authority at all: {none}");
}

#[tokio::test]
async fn the_client_of_the_other_test() {
    let Some(url) = std::env::var_os(URL) else { return };
    let mut options = StoreOptions::default();
    options.retry.attempts_max = 1;
    let store = Store::open(url.to_str().unwrap(), options).await.unwrap();
    let found: Result<_, StoreError> = store.head(Purpose::Read, "key").await;
    assert_eq!(found.unwrap().len, LENGTH);
}
