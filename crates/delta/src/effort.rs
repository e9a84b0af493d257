//! How much work goes into finding the smallest delta.

/// How much is tried before something is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Effort {
    /// What is found first is taken: nothing is done twice to compare.
    Fast,
    /// What mostly pays is tried.
    #[default]
    Default,
    /// All there is is tried, and the smallest taken.
    Best,
}
