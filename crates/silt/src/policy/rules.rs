//! The rules themselves.

use tarball::{ImageConfig, Name, Platform};

use super::version::Date;
use super::{Policy, Rule, Verdict, platform_text};

/// An image that is to be loaded.
pub(crate) struct Incoming<'a> {
    pub(crate) config: &'a ImageConfig,
    pub(crate) names: &'a [Name],
    /// What the names mean now.
    pub(crate) current: Vec<Current>,
}

/// What a name means now.
pub(crate) struct Current {
    pub(crate) name: Name,
    /// The image, where its config can be read.
    pub(crate) config: Option<ImageConfig>,
}

/// What the rules of a policy say of an image.
pub(crate) fn judge(policy: &Policy, image: &Incoming<'_>, allow_downgrade: bool) -> Vec<Verdict> {
    let mut judge = Judge { image, verdicts: Vec::new() };
    if let Some(allowed) = &policy.repositories {
        judge.repositories(allowed);
    }
    if let Some(allowed) = &policy.platforms {
        judge.platform(allowed);
    }
    if let Some(device_type) = &policy.device_type {
        judge.device_type(device_type, policy.type_label());
    }
    if policy.no_downgrade {
        for current in &image.current {
            judge.downgrade(current, policy.version_label.as_deref(), allow_downgrade);
        }
    }
    judge.verdicts
}

struct Judge<'a> {
    image: &'a Incoming<'a>,
    verdicts: Vec<Verdict>,
}

impl Judge<'_> {
    fn add(&mut self, rule: Rule, name: Option<&Name>, is_kept: bool, why: String) {
        self.verdicts.push(Verdict {
            rule,
            image: Some(self.image.config.id),
            name: name.cloned(),
            is_kept,
            is_overridden: false,
            why,
        });
    }

    fn repositories(&mut self, allowed: &[String]) {
        if self.image.names.is_empty() {
            let why = format!("image {} has no name", self.image.config.id);
            self.add(Rule::Repository, None, false, why);
        }
        for name in self.image.names {
            let is_kept = allowed.iter().any(|pattern| is_of(name, pattern));
            let verb = if is_kept { "is" } else { "is not" };
            let why = format!("{} {verb} among the allowed repositories", name.repository());
            self.add(Rule::Repository, Some(name), is_kept, why);
        }
    }

    fn platform(&mut self, allowed: &[Platform]) {
        let platform = &self.image.config.platform;
        let is_named = platform.os.is_some() && platform.architecture.is_some();
        let is_kept = is_named && allowed.iter().any(|allowed| allowed.runs(platform));
        let listed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        let (found, listed) = (platform_text(platform), listed.join(", "));
        let why = format!("the image is for {found}, and {listed} may be loaded");
        self.add(Rule::Platform, None, is_kept, why);
    }

    fn device_type(&mut self, device_type: &str, label: &str) {
        let found = self.image.config.labels.get(label);
        let is_kept = found.is_some_and(|found| found.split(',').any(|t| t.trim() == device_type));
        let why = match found {
            Some(found) => format!("the image is for {found:?}, and this is a {device_type:?}"),
            None => format!("the image has no label {label}, and this is a {device_type:?}"),
        };
        self.add(Rule::DeviceType, None, is_kept, why);
    }

    fn downgrade(&mut self, current: &Current, label: Option<&str>, is_allowed: bool) {
        let Current { name, config } = current;
        let (is_kept, why) = match config {
            Some(config) if config.id == self.image.config.id => {
                (true, format!("{name} is this image already"))
            }
            Some(config) => compare(name, self.image.config, config, label),
            None => (true, format!("what {name} is now cannot be read")),
        };
        self.add(Rule::Downgrade, Some(name), is_kept, why);
        if let Some(verdict) = self.verdicts.last_mut().filter(|_| is_allowed) {
            verdict.is_overridden = !is_kept;
        }
    }
}

fn compare(
    name: &Name,
    new: &ImageConfig,
    current: &ImageConfig,
    label: Option<&str>,
) -> (bool, String) {
    let new = match Date::of(new, label) {
        Ok(date) => date,
        Err(why) => return (false, format!("the image for {name} {why}")),
    };
    match Date::of(current, label) {
        Ok(current) if new.is_before(&current) => {
            (false, format!("{name} is {current} now, and the image is {new}"))
        }
        Ok(current) => (true, format!("{name} is {current} now, and the image is {new}")),
        // What is there cannot be told the age of, so nothing is older.
        Err(why) => (true, format!("what {name} is now {why}, and the image is {new}")),
    }
}

/// Whether a name is of a repository, or of those that begin like it.
fn is_of(name: &Name, pattern: &str) -> bool {
    let repository = name.repository();
    match pattern.strip_suffix('*') {
        Some(start) => repository.starts_with(start),
        // `docker.io/library/x` and `x` are one repository.
        None => {
            let pattern = pattern.parse::<Name>();
            pattern.is_ok_and(|pattern| pattern.repository() == repository)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(created: &str, labels: &[(&str, &str)]) -> ImageConfig {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        let config = serde_json::json!({
            "created": created, "os": "linux", "architecture": "arm", "variant": "v7",
            "config": { "Labels": labels }, "rootfs": { "type": "layers", "diff_ids": [] },
        });
        ImageConfig::parse(serde_json::to_vec(&config).unwrap()).unwrap()
    }

    fn broken(policy: &str, new: &ImageConfig, current: &ImageConfig) -> Vec<Rule> {
        let policy = Policy::parse(policy).unwrap();
        let names: [Name; 1] = ["fleet/app:1".parse().unwrap()];
        let current = vec![Current { name: names[0].clone(), config: Some(current.clone()) }];
        let image = Incoming { config: new, names: &names, current };
        let verdicts = judge(&policy, &image, false);
        verdicts.iter().filter(|v| !v.is_allowed()).map(|v| v.rule).collect()
    }

    #[test]
    fn each_rule_lets_in_what_it_should() {
        let old =
            config("2024-01-01T00:00:00Z", &[("v", "1.9.0"), ("io.silt.device-type", "a, b")]);
        let new = config("2024-01-01T00:00:00.5Z", &[("v", "1.10.0-rc.1")]);
        let undated = config("", &[]);
        for (policy, image, current, expected) in [
            ("", &old, &new, &[][..]),
            ("repositories = ['fleet/app']", &new, &old, &[]),
            ("repositories = ['docker.io/fleet/app']", &new, &old, &[]),
            ("repositories = ['fleet/*', 'x']", &new, &old, &[]),
            ("repositories = ['fleet', 'x']", &new, &old, &[Rule::Repository]),
            ("platforms = ['linux/arm64']", &new, &old, &[]),
            ("platforms = ['linux/arm/v6']", &new, &old, &[Rule::Platform]),
            ("device-type = 'b'", &old, &old, &[]),
            ("device-type = 'c'", &old, &old, &[Rule::DeviceType]),
            ("device-type = 'b'", &new, &old, &[Rule::DeviceType]),
            ("no-downgrade = true", &new, &old, &[]),
            ("no-downgrade = true", &old, &new, &[Rule::Downgrade]),
            ("no-downgrade = true\nversion-label = 'v'", &new, &old, &[]),
            ("no-downgrade = true\nversion-label = 'v'", &old, &new, &[Rule::Downgrade]),
            ("no-downgrade = true", &undated, &new, &[Rule::Downgrade]),
            ("no-downgrade = true", &new, &undated, &[]),
            ("no-downgrade = true\nversion-label = 'w'", &new, &old, &[Rule::Downgrade]),
        ] {
            assert_eq!(broken(policy, image, current), expected, "{policy}");
        }
    }

    #[test]
    fn a_downgrade_that_is_wished_for_is_recorded() {
        let (new, old) = (config("2024-01-01T00:00:00Z", &[]), config("2025-01-01T00:00:00Z", &[]));
        let policy = Policy::parse("no-downgrade = true").unwrap();
        let names: [Name; 1] = ["a".parse().unwrap()];
        let current = vec![Current { name: names[0].clone(), config: Some(old) }];
        let image = Incoming { config: &new, names: &names, current };
        let verdicts = judge(&policy, &image, true);
        assert!(verdicts[0].is_overridden && !verdicts[0].is_kept && verdicts[0].is_allowed());
    }
}
