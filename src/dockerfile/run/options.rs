//! The options of a command, by a table of those that are understood.
//!
//! An option that is in no table is refused, and so is every abbreviation.

/// An option that a command understands.
#[derive(Debug)]
pub(super) struct Known<M: 'static> {
    /// Its spellings, each with its dashes.
    pub(super) names: &'static [&'static str],
    /// The variable that gives it as well; empty where there is none.
    pub(super) variable: &'static str,
    pub(super) takes: Takes,
    pub(super) meaning: M,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
}

/// A switch.
pub(super) const fn switch<M>(names: &'static [&'static str], meaning: M) -> Known<M> {
    Known { names, variable: "", takes: Takes::Nothing, meaning }
}

/// An option with a value.
pub(super) const fn value<M>(names: &'static [&'static str], meaning: M) -> Known<M> {
    Known { names, variable: "", takes: Takes::Value, meaning }
}

impl<M> Known<M> {
    /// The same, given by a variable as well.
    pub(super) const fn or(self, variable: &'static str) -> Self
    where
        M: Copy,
    {
        Self { names: self.names, variable, takes: self.takes, meaning: self.meaning }
    }
}

/// Options, each with its value; empty for a switch.
pub(super) type Options<M> = Vec<(M, String)>;

/// What a command was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given<M> {
    /// Options in order.
    pub(super) options: Options<M>,
    pub(super) operands: Vec<String>,
}

impl<M: Copy + PartialEq> Given<M> {
    /// Whether an option with this meaning is among them.
    pub(super) fn has(&self, meaning: M) -> bool {
        self.options.iter().any(|(given, _)| *given == meaning)
    }

    /// The last value of the option with this meaning.
    pub(super) fn last(&self, meaning: M) -> Option<&str> {
        self.options.iter().rev().find(|(given, _)| *given == meaning).map(|(_, value)| value.as_str())
    }
}

/// Reads `words`, options and operands in any order.
///
/// # Errors
/// Fails with a reason for an option that no row of `table` has, or one without its value.
pub(super) fn read<M: Copy>(words: &[String], tables: &[&'static [Known<M>]]) -> Result<Given<M>, String> {
    let mut given = Given { options: Vec::new(), operands: Vec::new() };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.strip_prefix('-') {
            Some("-") => given.operands.extend(rest.by_ref().cloned()),
            Some(letters) if !letters.is_empty() => given.options.extend(option(word, &mut rest, tables)?),
            _ => given.operands.push(word.clone()),
        }
    }
    Ok(given)
}

/// Reads the options before the first operand; gives them and the words from there on.
///
/// # Errors
/// As [`read`].
pub(super) fn read_leading<'a, M: Copy>(
    words: &'a [String],
    tables: &[&'static [Known<M>]],
) -> Result<(Options<M>, &'a [String]), String> {
    let mut options = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.as_slice().first().filter(|word| word.starts_with('-') && *word != "-") {
        rest.next();
        options.extend(option(word, &mut rest, tables)?);
    }
    Ok((options, rest.as_slice()))
}

/// The options that `word` holds, with a value that may be the next word.
fn option<M: Copy>(
    word: &str,
    rest: &mut std::slice::Iter<'_, String>,
    tables: &[&'static [Known<M>]],
) -> Result<Options<M>, String> {
    let find = |name: &str| {
        let known = tables.iter().flat_map(|table| table.iter()).find(|known| known.names.contains(&name));
        known.ok_or_else(|| format!("its option `{name}` is not understood"))
    };
    let mut next = |name: &str| match rest.next() {
        Some(value) if !value.starts_with('-') => Ok(value.clone()),
        _ => Err(format!("its option `{name}` has no value")),
    };
    if word.starts_with("--") {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let known = find(name)?;
        let value = match (known.takes, value) {
            (Takes::Nothing, None) => String::new(),
            (Takes::Nothing, Some(_)) => return Err(format!("its option `{name}` takes no value")),
            (Takes::Value, Some(value)) => value.to_owned(),
            (Takes::Value, None) => next(name)?,
        };
        return Ok(vec![(known.meaning, value)]);
    }
    let mut options = Vec::new();
    for (at, letter) in word.char_indices().skip(1) {
        let name = format!("-{letter}");
        let known = find(&name)?;
        if known.takes == Takes::Nothing {
            options.push((known.meaning, String::new()));
            continue;
        }
        let value = match &word[at + letter.len_utf8()..] {
            "" => next(&name)?,
            behind if behind.starts_with('=') => return Err(format!("`{name}=` is read in different ways")),
            behind => behind.to_owned(),
        };
        options.push((known.meaning, value));
        break;
    }
    Ok(options)
}
