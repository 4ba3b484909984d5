//! What a started broker says: at most ten lines.

use std::io::Write;

/// What the banner shows.
pub struct Banner<'a> {
    pub broker: i32,
    pub cluster: &'a str,
    pub addresses: &'a [String],
    pub store: &'a str,
    pub wal: &'a str,
    pub http: Option<&'a str>,
    pub recovered: Option<String>,
}

/// Prints it on standard output.
pub fn print(banner: &Banner<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "Headwater {version} is ready: broker {} of cluster {}", banner.broker, banner.cluster)?;
    writeln!(out, "  clients   {}", banner.addresses.join(", "))?;
    writeln!(out, "  storage   {}", banner.store)?;
    writeln!(out, "  log       {}", banner.wal)?;
    let promise = if banner.store.starts_with("memory") {
        "nothing outlives this process: the store is in memory"
    } else {
        "an acknowledged record survives kill -9 and power loss"
    };
    writeln!(out, "  durable   {promise}")?;
    if let Some(recovered) = &banner.recovered {
        writeln!(out, "  recovered {recovered}")?;
    }
    if let Some(http) = banner.http {
        writeln!(out, "  health    http://{http}/readyz, metrics http://{http}/metrics")?;
    }
    let port = banner.addresses.first().and_then(|a| a.rsplit(':').next()).unwrap_or("9092");
    let bootstrap = if port == "9092" { String::new() } else { format!(" -b 127.0.0.1:{port}") };
    let program = program();
    writeln!(out, "  try       echo hello | {program} produce greetings{bootstrap}")?;
    writeln!(out, "            {program} consume greetings --from-beginning{bootstrap}")?;
    out.flush()
}

/// How to call this program from a shell: by its name where that finds it, else by its path.
fn program() -> String {
    const NAME: &str = "headwater";
    let Ok(own) = std::env::current_exe() else { return NAME.to_owned() };
    let found = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|directory| directory.join(NAME))
        .find(|candidate| candidate.is_file())
        .and_then(|candidate| candidate.canonicalize().ok());
    if found.as_ref() == Some(&own) {
        return NAME.to_owned();
    }
    let here = std::env::current_dir().ok();
    let path = match here.and_then(|here| own.strip_prefix(here).map(std::path::Path::to_path_buf).ok()) {
        Some(below) => std::path::Path::new(".").join(below),
        None => own,
    };
    let path = path.display().to_string();
    if path.contains(|c: char| !(c.is_ascii_alphanumeric() || "/._-+".contains(c))) {
        return format!("'{}'", path.replace('\'', r"'\''"));
    }
    path
}
