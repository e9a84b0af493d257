//! Names of members: one spelling for each, and none that leads out of the archive.

use super::error::ArchiveFault;

/// The name without `.`, doubled and trailing slashes. An empty one is the archive's root.
pub(super) fn normalize(name: &str) -> Result<String, Box<ArchiveFault>> {
    if name.starts_with('/') {
        return Err(outside(name, "has an absolute name"));
    }
    let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
    if parts.clone().any(|part| part == "..") {
        return Err(outside(name, "has a name that leads upwards"));
    }
    Ok(parts.collect::<Vec<_>>().join("/"))
}

/// Where the symbolic link `link` points, which stands in the same archive as what it points to.
pub(super) fn symbolic_target(link: &str, target: &str) -> Result<String, Box<ArchiveFault>> {
    if target.starts_with('/') {
        return Err(outside(link, "is a link to an absolute path"));
    }
    let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => {
                return Err(outside(link, "is a link that leaves the archive"));
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn outside(member: &str, problem: &'static str) -> Box<ArchiveFault> {
    Box::new(ArchiveFault::UnsafeMember { member: shorten(member), problem })
}

/// Names in messages may be as long as a line.
pub(super) fn shorten(name: &str) -> String {
    name.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_each_name() {
        for (given, kept) in
            [("./a/b", "a/b"), ("a//b/", "a/b"), ("./", ""), ("a/..b/.c", "a/..b/.c")]
        {
            assert_eq!(normalize(given).unwrap(), kept);
        }
        for bad in ["../a", "/a", "a/../b", "a/..", ".."] {
            assert!(normalize(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_stay_in_the_archive() {
        let resolve = |link, target| symbolic_target(link, target);
        assert_eq!(resolve("a/layer.tar", "../b/layer.tar").unwrap(), "b/layer.tar");
        assert_eq!(resolve("a/b/l", "../../c").unwrap(), "c");
        assert_eq!(resolve("l", "./c").unwrap(), "c");
        for (link, target) in [("l", "../c"), ("a/l", "../../c"), ("a/l", "/etc/passwd")] {
            assert!(resolve(link, target).is_err(), "{link} -> {target}");
        }
    }
}
