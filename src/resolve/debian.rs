//! The closure of Debian packages for a recipe (Debian policy chapter 7).
//!
//! The highest version over all suites is taken, unless one is kept or something asks for another. `Recommends` are not
//! followed. A package that stands in `omit` is left out with everything that only it asks for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use debversion::Version;
use thiserror::Error;

use super::{Keep, LayerWants, MOST_ROUNDS, some_of};
use crate::debian::index::{Index, Package};
use crate::debian::relation::{self, Relation, RelationError, Want};
use crate::hint::{Hint, nearest};
use crate::name::LayerName;

/// One suite with its index, under the name that messages and locks use for its archive.
#[derive(Clone, Copy, Debug)]
pub struct Suite<'a> {
    /// The archive: `debian`.
    pub archive: &'a str,
    /// What it has.
    pub index: &'a Index,
}

/// A package that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The archive it comes from.
    pub archive: &'a str,
    /// The package.
    pub package: &'a Package,
}

/// What each layer gains, in the order of the layers, each sorted by name.
pub type Closure<'a> = Vec<(LayerName, Vec<Choice<'a>>)>;

/// A recipe that cannot be satisfied.
#[derive(Debug, Error)]
pub enum ClosureError {
    /// A relation that cannot be read.
    #[error("a relation of {asker} cannot be read")]
    Relation {
        /// Whose.
        asker: String,
        /// Which.
        #[source]
        source: RelationError,
    },
    /// Nothing satisfies a relation.
    #[error("{asker} wants `{relation}`; there is {there_is}")]
    Unsatisfied {
        /// Who asks.
        asker: String,
        /// For what.
        relation: String,
        /// What the suites have under these names.
        there_is: String,
        /// A name like it, where nothing is called so.
        nearest: Option<String>,
    },
    /// Several packages provide a name that is none itself.
    #[error("{asker} wants `{relation}`, which several packages provide: {providers}")]
    Ambiguous {
        /// Who asks.
        asker: String,
        /// For what.
        relation: String,
        /// The providers.
        providers: String,
    },
    /// Two demands on one package that no version meets.
    #[error("no version of `{package}` will do: {demands}; there is {there_is}")]
    Demands {
        /// The package.
        package: String,
        /// Who demands what.
        demands: String,
        /// The versions there are.
        there_is: String,
    },
    /// Two chosen packages that refuse to be together.
    #[error("`{package}` {version} cannot be together with `{other}` {other_version}: it conflicts with `{relation}`")]
    Conflict {
        /// Who refuses.
        package: String,
        /// Its version.
        version: String,
        /// Who is refused.
        other: String,
        /// Its version.
        other_version: String,
        /// In which words.
        relation: String,
    },
    /// Choices went round in a circle.
    #[error("choosing versions of {packages} finds no end")]
    NoEnd {
        /// Which packages still change.
        packages: String,
    },
}

impl Hint for ClosureError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unsatisfied { nearest: Some(name), .. } => vec![format!("did you mean `{name}`?")],
            Self::Unsatisfied { .. } => {
                vec![
                    "add a suite that has it to `[debian]`, or the package to `[debian.omit]` with the reason"
                        .to_owned(),
                ]
            }
            Self::Ambiguous { .. } => vec!["name one of them in the layer's `debian`".to_owned()],
            Self::Demands { .. } | Self::Conflict { .. } => {
                vec!["run `modelconverter lock --upgrade`, or leave one of them out of the recipe".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// Who asks for which versions, by package.
type Demands = BTreeMap<String, Vec<(String, Want)>>;

/// Chooses the packages of all layers, lowest layer first; what a lower layer has is not repeated above it.
///
/// # Errors
/// Something asked for does not exist, or not in a version that all who ask will take, or two packages conflict.
pub fn closure<'a>(
    suites: &[Suite<'a>],
    layers: &[LayerWants],
    omit: &BTreeMap<String, String>,
    keep: &Keep,
) -> Result<Closure<'a>, ClosureError> {
    let mut keep = keep.clone();
    let mut demands = Demands::new();
    for _ in 0..MOST_ROUNDS {
        let mut round =
            Round { suites, omit, keep: &keep, demands: &demands, chosen: BTreeMap::new(), heard: Demands::new() };
        let closure = round.closure(layers)?;
        let unmet: Vec<String> = round.unmet().map(str::to_owned).collect();
        if unmet.is_empty() {
            check_conflicts(&round.chosen)?;
            return Ok(closure);
        }
        let heard = round.heard;
        // What was kept gives way first; then the demands that were heard hold from the start.
        let kept = keep.len();
        keep.retain(|name, _| !unmet.contains(name));
        if keep.len() == kept {
            if demands == heard {
                return Err(ClosureError::NoEnd { packages: some_of(&unmet) });
            }
            demands = heard;
        }
    }
    Err(ClosureError::NoEnd { packages: some_of(&demands.into_keys().collect::<Vec<_>>()) })
}

struct Round<'a, 'r> {
    suites: &'r [Suite<'a>],
    omit: &'r BTreeMap<String, String>,
    keep: &'r Keep,
    /// What the round before heard.
    demands: &'r Demands,
    chosen: BTreeMap<String, (Choice<'a>, Version)>,
    heard: Demands,
}

impl<'a> Round<'a, '_> {
    fn closure(&mut self, layers: &[LayerWants]) -> Result<Closure<'a>, ClosureError> {
        let mut closure = Vec::new();
        for LayerWants { layer, wants } in layers {
            let before: BTreeSet<String> = self.chosen.keys().cloned().collect();
            let asker = format!("layer `{layer}`");
            let mut queue: VecDeque<(String, Relation)> = VecDeque::new();
            for want in wants {
                let relations = relation::read(want);
                let relations = relations.map_err(|source| ClosureError::Relation { asker: asker.clone(), source })?;
                queue.extend(relations.into_iter().map(|relation| (asker.clone(), relation)));
            }
            while let Some((asker, relation)) = queue.pop_front() {
                if let Some(added) = self.satisfy(&asker, &relation)? {
                    let asker = format!("`{}` {}", added.package.name, added.package.version);
                    let relations = relation::read(&added.package.depends);
                    let relations =
                        relations.map_err(|source| ClosureError::Relation { asker: asker.clone(), source })?;
                    queue.extend(relations.into_iter().map(|relation| (asker.clone(), relation)));
                }
            }
            let gained = self.chosen.iter().filter(|(name, _)| !before.contains(*name));
            closure.push((layer.clone(), gained.map(|(_, (choice, _))| *choice).collect()));
        }
        Ok(closure)
    }

    /// Satisfies one relation; returns the package that this adds, if any.
    fn satisfy(&mut self, asker: &str, relation: &Relation) -> Result<Option<Choice<'a>>, ClosureError> {
        if relation.alternatives.iter().any(|want| self.omit.contains_key(&want.name)) {
            return Ok(None);
        }
        // A package that is there already and has the right name, even in a version that this round must not choose
        // again, or one that provides the name.
        for want in &relation.alternatives {
            if self.chosen.contains_key(&want.name) {
                self.heard.entry(want.name.clone()).or_default().push((asker.to_owned(), want.clone()));
                return Ok(None);
            }
            if self.chosen.values().any(|(choice, _)| want.takes_provided(&choice.package.provides)) {
                return Ok(None);
            }
        }
        for want in &relation.alternatives {
            if let Some((choice, version)) = self.best(&want.name, want)? {
                self.heard.entry(want.name.clone()).or_default().push((asker.to_owned(), want.clone()));
                self.chosen.insert(want.name.clone(), (choice, version));
                return Ok(Some(choice));
            }
            let mut providers: BTreeMap<&str, (Choice<'a>, Version)> = BTreeMap::new();
            let names: BTreeSet<&'a str> = self
                .suites
                .iter()
                .flat_map(|suite| suite.index.providers(&want.name))
                .map(String::as_str)
                .filter(|name| !self.omit.contains_key(*name))
                .collect();
            for name in names {
                let any = Want { name: name.to_owned(), version: None };
                if let Some((choice, version)) = self.best(name, &any)?
                    && want.takes_provided(&choice.package.provides)
                {
                    providers.insert(name, (choice, version));
                }
            }
            let Some((name, (choice, version))) = providers.pop_first() else { continue };
            if !providers.is_empty() {
                let mut names = vec![name.to_owned()];
                names.extend(providers.into_keys().map(str::to_owned));
                let (asker, relation) = (asker.to_owned(), relation.to_string());
                return Err(ClosureError::Ambiguous { asker, relation, providers: some_of(&names) });
            }
            self.chosen.insert(name.to_owned(), (choice, version));
            return Ok(Some(choice));
        }
        Err(self.unsatisfied(asker, relation))
    }

    /// Returns the kept version of a package, or else the highest, that will do for `want` and all demands.
    fn best(&self, name: &str, want: &Want) -> Result<Option<(Choice<'a>, Version)>, ClosureError> {
        let demands = self.demands.get(name).map_or(&[][..], Vec::as_slice);
        let mut candidates = Vec::new();
        for suite in self.suites {
            for package in suite.index.versions(name) {
                if let Some(version) = relation::version(&package.version) {
                    candidates.push((Choice { archive: suite.archive, package }, version));
                }
            }
        }
        let fits = |version: &Version| want.takes(version) && demands.iter().all(|(_, demand)| demand.takes(version));
        if let Some(kept) = self.keep.get(name) {
            let kept = candidates.iter().find(|(choice, version)| choice.package.version == *kept && fits(version));
            if let Some(kept) = kept {
                return Ok(Some(kept.clone()));
            }
        }
        let alone = candidates.iter().any(|(_, version)| want.takes(version));
        let there_is = versions(&candidates);
        // Of equal versions the first suite's wins, so that the result does not depend on anything else.
        let best = candidates
            .into_iter()
            .filter(|(_, version)| fits(version))
            .reduce(|best, other| if other.1 > best.1 { other } else { best });
        if best.is_none() && alone {
            let demands = demands.iter().map(|(asker, demand)| format!("{asker} wants `{demand}`")).collect::<Vec<_>>();
            let demands = demands.join(", ");
            return Err(ClosureError::Demands { package: name.to_owned(), demands, there_is });
        }
        Ok(best)
    }

    /// Returns the packages whose chosen version somebody will not take.
    fn unmet(&self) -> impl Iterator<Item = &str> {
        self.heard.iter().filter_map(|(name, demands)| {
            let (_, version) = self.chosen.get(name)?;
            (!demands.iter().all(|(_, want)| want.takes(version))).then_some(name.as_str())
        })
    }

    fn unsatisfied(&self, asker: &str, relation: &Relation) -> ClosureError {
        let mut there_is = Vec::new();
        for want in &relation.alternatives {
            for suite in self.suites {
                let found = suite.index.versions(&want.name).iter();
                there_is.extend(found.map(|package| format!("{} {}", package.name, package.version)));
            }
        }
        let nearest = there_is.is_empty().then(|| {
            let names = self.suites.iter().flat_map(|suite| suite.index.names());
            let wanted = relation.alternatives.first()?.name.as_str();
            nearest(wanted, names).map(str::to_owned)
        });
        let there_is = if there_is.is_empty() { "no such package".to_owned() } else { some_of(&there_is) };
        let (asker, relation) = (asker.to_owned(), relation.to_string());
        ClosureError::Unsatisfied { asker, relation, there_is, nearest: nearest.flatten() }
    }
}

fn versions(candidates: &[(Choice<'_>, Version)]) -> String {
    some_of(&candidates.iter().map(|(choice, _)| choice.package.version.clone()).collect::<Vec<_>>())
}

fn check_conflicts(chosen: &BTreeMap<String, (Choice<'_>, Version)>) -> Result<(), ClosureError> {
    for (name, (choice, _)) in chosen {
        let relations = relation::read(&choice.package.conflicts).map_err(|source| ClosureError::Relation {
            asker: format!("`{name}` {}", choice.package.version),
            source,
        })?;
        for want in relations.iter().flat_map(|relation| &relation.alternatives) {
            let real = chosen.get(&want.name).filter(|(_, version)| want.takes(version));
            // A package may conflict with a name that it provides itself: that means all others.
            let provided = chosen
                .values()
                .find(|(other, _)| other.package.name != *name && want.takes_provided(&other.package.provides));
            if let Some((other, _)) = real.filter(|_| want.name != *name).or(provided) {
                return Err(ClosureError::Conflict {
                    package: name.clone(),
                    version: choice.package.version.clone(),
                    other: other.package.name.clone(),
                    other_version: other.package.version.clone(),
                    relation: want.to_string(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(stanzas: &[(&str, &str, &str)]) -> Index {
        let mut text = String::new();
        for (name, version, fields) in stanzas {
            text += &format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\nSHA256: \
                 {}\n{fields}\n\n",
                crate::digest::Digest::of(name.as_bytes()).hex()
            );
        }
        Index::read(text.replace("\n\n\n", "\n\n").as_bytes()).unwrap()
    }

    fn layers(layers: &[&[&str]]) -> Vec<LayerWants> {
        let wants = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let layer = |(number, names): (usize, &&[&str])| LayerWants {
            layer: format!("l{number}").parse().unwrap(),
            wants: wants(names),
        };
        layers.iter().enumerate().map(layer).collect()
    }

    fn resolve(
        suites: &[(&str, &Index)],
        wants: &[&[&str]],
        omit: &[&str],
        keep: &[(&str, &str)],
    ) -> Result<Vec<String>, ClosureError> {
        let suites: Vec<Suite<'_>> = suites.iter().map(|(archive, index)| Suite { archive, index }).collect();
        let omit = omit.iter().map(|name| ((*name).to_owned(), "no".to_owned())).collect();
        let keep = keep.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
        let closure = closure(&suites, &layers(wants), &omit, &keep)?;
        let line =
            |choice: &Choice<'_>| format!("{}={}@{}", choice.package.name, choice.package.version, choice.archive);
        Ok(closure.iter().map(|(_, choices)| choices.iter().map(line).collect::<Vec<_>>().join(" ")).collect())
    }

    #[test]
    fn the_highest_version_wins_and_lower_layers_own_what_they_have() {
        let main = index(&[
            ("libc6", "2.31-1", ""),
            ("bash", "5", "Depends: libc6 (>= 2.15), debconf | debconf-2.0\nRecommends: gone"),
            ("python", "3.9", "Pre-Depends: libc6\nDepends: libpython (= 3.9), awk"),
            ("libpython", "3.9", ""),
            ("mawk", "1", "Provides: awk"),
            ("debconf", "1", "Depends: perl"),
            ("perl", "5", ""),
        ]);
        let security = index(&[("libc6", "2.31-1+u1", "")]);
        let suites = [("debian", &main), ("debian-security", &security)];
        assert_eq!(
            resolve(&suites, &[&["bash"], &["python", "bash"]], &["debconf"], &[]).unwrap(),
            ["bash=5@debian libc6=2.31-1+u1@debian-security", "libpython=3.9@debian mawk=1@debian python=3.9@debian"]
        );
        let kept = resolve(&suites, &[&["libc6"]], &[], &[("libc6", "2.31-1")]).unwrap();
        assert_eq!(kept, ["libc6=2.31-1@debian"]);
        let gone = resolve(&suites, &[&["libc6"]], &[], &[("libc6", "2.30")]).unwrap();
        assert_eq!(gone, ["libc6=2.31-1+u1@debian-security"]);
    }

    #[test]
    fn demands_move_versions_that_were_kept_or_would_be_highest() {
        let main = index(&[
            ("aa", "1", "Depends: lib (= 1)"),
            ("aa", "2", "Depends: lib (= 2)"),
            ("lib", "1", ""),
            ("lib", "2", ""),
            ("lib", "3", ""),
            ("bb", "1", "Depends: lib (<< 2)"),
        ]);
        let suites = [("debian", &main)];
        // `lib` is asked for before `aa` is known to need version 2 of it.
        assert_eq!(resolve(&suites, &[&["lib", "aa"]], &[], &[]).unwrap(), ["aa=2@debian lib=2@debian"]);
        assert_eq!(
            resolve(&suites, &[&["lib"], &["aa"]], &[], &[("lib", "1")]).unwrap(),
            ["lib=2@debian", "aa=2@debian"]
        );
        let error = resolve(&suites, &[&["aa", "bb"]], &[], &[]).unwrap_err().to_string();
        for part in ["no version of `lib`", "`aa` 2 wants `lib (= 2)`", "`bb` 1 wants `lib (<< 2)`", "1, 2, 3"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_satisfied_is_named() {
        let main = index(&[
            ("app", "1", "Depends: zlib (>= 2)"),
            ("zlib", "1", ""),
            ("m1", "1", "Provides: mta"),
            ("m2", "1", "Provides: mta"),
            ("x1", "1", "Conflicts: x2 (<< 3)"),
            ("x2", "2", ""),
            ("y1", "1", "Provides: yy\nConflicts: yy"),
            ("y2", "1", "Provides: yy"),
            ("bad", "1", "Depends: (("),
        ]);
        let suites = [("debian", &main)];
        for (wants, part) in [
            (&["app"][..], "`app` 1 wants `zlib (>= 2)`; there is zlib 1"),
            (&["zlibb"], "layer `l0` wants `zlibb`; there is no such package"),
            (&["mta"], "m1, m2"),
            (&["x1", "x2"], "`x1` 1 cannot be together with `x2` 2"),
            (&["y1", "y2"], "cannot be together"),
            (&["bad"], "`bad` 1 cannot be read"),
        ] {
            let error = resolve(&suites, &[wants], &[], &[]).unwrap_err();
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        let error = resolve(&suites, &[&["zlibb"]], &[], &[]).unwrap_err();
        assert_eq!(error.hints(), ["did you mean `zlib`?"]);
        assert_eq!(resolve(&suites, &[&["y1"]], &[], &[]).unwrap(), ["y1=1@debian"]);
        assert_eq!(resolve(&suites, &[&["m2", "mta"]], &[], &[]).unwrap(), ["m2=1@debian"]);
    }
}
