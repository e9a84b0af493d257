//! `docker silt …`: as `docker-silt` in one of Docker's folders of plugins.
//!
//! Docker asks a plugin what it is, and then calls it with its own command line, in which what comes before
//! the plugin's name is Docker's.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde_json::json;

/// What the program is called as in a folder of plugins, and what its command is then.
const PROGRAM: &str = "docker-silt";
const COMMAND: &str = "silt";
/// How Docker asks.
const METADATA: &str = "docker-cli-plugin-metadata";

/// How the program was called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// By itself.
    Other(Vec<OsString>),
    /// Docker asks what it is.
    Metadata,
    /// By Docker.
    Plugin { arguments: Vec<OsString>, docker_host: Option<String> },
}

pub(super) fn of(arguments: Vec<OsString>) -> Call {
    let program = arguments.first().and_then(|program| Path::new(program).file_name());
    if program != Some(OsStr::new(PROGRAM)) {
        return Call::Other(arguments);
    }
    if arguments.get(1).is_some_and(|argument| argument == METADATA) {
        return Call::Metadata;
    }
    let name = arguments.iter().position(|argument| argument == COMMAND);
    let (docker, own) = arguments.split_at(name.map_or(1, |at| at + 1));
    let docker_host = host_of(&docker[1..]);
    Call::Plugin { arguments: [&docker[..1], own].concat(), docker_host }
}

/// The engine that Docker's own arguments name.
fn host_of(arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str());
    while let Some(argument) = arguments.next() {
        match argument {
            "-H" | "--host" => return arguments.next().map(str::to_owned),
            _ => {}
        }
        if let Some(host) = argument.strip_prefix("--host=") {
            return Some(host.to_owned());
        }
    }
    None
}

/// What Docker is told.
pub(super) fn metadata() -> String {
    let metadata = json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "Silt",
        "Version": env!("CARGO_PKG_VERSION"),
        "ShortDescription": "Small deltas between images",
    });
    format!("{metadata}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        of(line.split(' ').map(OsString::from).collect())
    }

    fn plugin(line: &str, host: Option<&str>) -> Call {
        let arguments = line.split(' ').map(OsString::from).collect();
        Call::Plugin { arguments, docker_host: host.map(str::to_owned) }
    }

    #[test]
    fn what_comes_before_the_name_is_dockers() {
        assert_eq!(call("/x/docker-silt docker-cli-plugin-metadata"), Call::Metadata);
        assert_eq!(call("/x/docker-silt silt image ls"), plugin("/x/docker-silt image ls", None));
        assert_eq!(
            call("docker-silt -H unix:///s silt image tag silt a"),
            plugin("docker-silt image tag silt a", Some("unix:///s"))
        );
        assert_eq!(
            call("docker-silt --host=tcp://h:1 --debug silt images"),
            plugin("docker-silt images", Some("tcp://h:1"))
        );
        assert_eq!(
            call("silt silt image"),
            Call::Other(vec!["silt".into(), "silt".into(), "image".into()])
        );
        let metadata: serde_json::Value = serde_json::from_str(&metadata()).unwrap();
        assert_eq!(metadata["SchemaVersion"], "0.1.0");
    }
}
