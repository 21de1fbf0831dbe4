//! A `setup.py` that says what its project is and does nothing else.
//!
//! Nothing is run. A name, a call or a statement that is not known makes a script one that may do anything.

/// Functions of setuptools that look for packages among the project's files.
const FINDERS: [&str; 2] = ["find_packages", "find_namespace_packages"];

/// Arguments that take no code of the project's.
const ARGUMENTS: [&str; 31] = [
    "author",
    "author_email",
    "classifiers",
    "description",
    "download_url",
    "entry_points",
    "exclude_package_data",
    "extras_require",
    "include_package_data",
    "install_requires",
    "keywords",
    "license",
    "license_files",
    "long_description",
    "long_description_content_type",
    "maintainer",
    "maintainer_email",
    "name",
    "package_data",
    "package_dir",
    "packages",
    "platforms",
    "project_urls",
    "provides",
    "py_modules",
    "python_requires",
    "tests_require",
    "url",
    "version",
    "zip_safe",
    "namespace_packages",
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Number,
    Text(&'a str),
    Mark(char),
}

/// Whether the script imports setuptools and calls its `setup` once, with values that are written out.
pub fn is_declaration(script: &str) -> bool {
    let Some(tokens) = tokens(script) else { return false };
    let mut reader = Reader { left: &tokens };
    reader.script().is_some() && reader.left.is_empty()
}

struct Reader<'a> {
    left: &'a [Token<'a>],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a Token<'a>> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(first)
    }

    fn takes(&mut self, token: &Token<'_>) -> bool {
        let is_next = self.left.first() == Some(token);
        if is_next {
            self.left = &self.left[1..];
        }
        is_next
    }

    fn mark(&mut self, mark: char) -> Option<()> {
        self.takes(&Token::Mark(mark)).then_some(())
    }

    fn word(&mut self) -> Option<&'a str> {
        match self.next()? {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    fn script(&mut self) -> Option<()> {
        while matches!(self.left.first(), Some(Token::Text(_))) {
            self.next();
        }
        let is_from = match self.word()? {
            "from" => true,
            "import" => false,
            _ => return None,
        };
        (self.word()? == "setuptools").then_some(())?;
        if is_from {
            (self.word()? == "import").then_some(())?;
            loop {
                let name = self.word()?;
                (name == "setup" || FINDERS.contains(&name)).then_some(())?;
                if self.mark(',').is_none() {
                    break;
                }
            }
        }
        if self.takes(&Token::Word("if")) {
            (self.word()? == "__name__").then_some(())?;
            self.mark('=')?;
            self.mark('=')?;
            self.takes(&Token::Text("__main__")).then_some(())?;
            self.mark(':')?;
        }
        self.callee(&["setup"])?;
        self.mark('(')?;
        while self.mark(')').is_none() {
            let name = self.word()?;
            ARGUMENTS.contains(&name).then_some(())?;
            self.mark('=')?;
            self.value()?;
            if self.mark(',').is_none() {
                return self.mark(')');
            }
        }
        Some(())
    }

    /// `NAME` or `setuptools.NAME`.
    fn callee(&mut self, names: &[&str]) -> Option<()> {
        let mut name = self.word()?;
        if name == "setuptools" {
            self.mark('.')?;
            name = self.word()?;
        }
        names.contains(&name).then_some(())
    }

    fn value(&mut self) -> Option<()> {
        match self.left.first()? {
            Token::Text(_) => {
                while matches!(self.left.first(), Some(Token::Text(_))) {
                    self.next();
                }
                Some(())
            }
            Token::Number | Token::Word("True" | "False" | "None") => self.next().map(drop),
            Token::Word(_) => {
                self.callee(&FINDERS)?;
                self.mark('(')?;
                self.values(')', '=')
            }
            Token::Mark('[') => self.next().and_then(|_| self.values(']', '\0')),
            Token::Mark('(') => self.next().and_then(|_| self.values(')', '\0')),
            Token::Mark('{') => self.next().and_then(|_| self.values('}', ':')),
            Token::Mark(_) => None,
        }
    }

    /// Values up to `end`; before each may stand a name or a value and `sign`.
    fn values(&mut self, end: char, sign: char) -> Option<()> {
        while self.mark(end).is_none() {
            match (sign, self.left) {
                ('=', [Token::Word(_), Token::Mark('='), ..]) => self.left = &self.left[2..],
                ('=', _) | ('\0', _) => {}
                _ => {
                    self.value()?;
                    self.mark(sign)?;
                }
            }
            self.value()?;
            if self.mark(',').is_none() {
                return self.mark(end);
            }
        }
        Some(())
    }
}

/// The tokens of a script; `None` for a text that computes, and for what is no Python.
fn tokens(script: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut left = script;
    while let Some(first) = left.chars().next() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if first.is_whitespace() || first == '#' {
            let end = if first == '#' { left.find('\n').unwrap_or(left.len()) } else { first.len_utf8() };
            left = &left[end..];
        } else if matches!(first, '"' | '\'') {
            let (text, rest) = quoted(left)?;
            tokens.push(Token::Text(text));
            left = rest;
        } else if is_part(first) {
            let (word, rest) = left.split_at(left.find(|c| !is_part(c)).unwrap_or(left.len()));
            let is_number = first.is_ascii_digit();
            match rest.starts_with(['"', '\'']) {
                // Of the prefixes of a text `f` is none that says what it is.
                true if ["r", "u", "R", "U"].contains(&word) => {}
                true => return None,
                false => tokens.push(if is_number { Token::Number } else { Token::Word(word) }),
            }
            left = rest;
        } else {
            tokens.push(Token::Mark(first));
            left = &left[first.len_utf8()..];
        }
    }
    Some(tokens)
}

/// A text in quotes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    let quote = if text.starts_with(&triple) { triple.as_str() } else { quote };
    let mut at = quote.len();
    loop {
        let left = &text[at..];
        match left.chars().next()? {
            '\\' => at += 1 + left[1..].chars().next()?.len_utf8(),
            '\n' if quote.len() == 1 => return None,
            _ if left.starts_with(quote) => return Some((&text[quote.len()..at], &left[quote.len()..])),
            other => at += other.len_utf8(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_writes_everything_out_is_a_declaration() {
        for script in [
            "from setuptools import setup\n\nsetup()\n",
            "#!/usr/bin/env python\n\"\"\"Ferry's.\"\"\"\nimport setuptools\nsetuptools.setup(name='ferry', version=\"1\",)\n",
            "from setuptools import setup, find_packages\nif __name__ == \"__main__\":\n    setup(\n        packages=find_packages(where=\"src\", exclude=('tests',)),\n        package_dir={\"\": \"src\"},  # below src\n        entry_points={'console_scripts': ['ferry = ferry:main']},\n        zip_safe=False,\n        long_description='''a\nb''' 'c\\'',\n    )\n",
        ] {
            assert!(is_declaration(script), "{script}");
        }
    }

    #[test]
    fn a_script_that_computes_may_do_anything() {
        for script in [
            "",
            "import os\nfrom setuptools import setup\nsetup()\n",
            "from setuptools import setup\nsetup(version=open('VERSION').read())\n",
            "from setuptools import setup\nsetup(version=f'{x}')\n",
            "from setuptools import setup\nsetup(version='a' + x)\n",
            "from setuptools import setup\nsetup(cmdclass={})\n",
            "from setuptools import setup\nsetup(ext_modules=[])\n",
            "from setuptools import setup\nsetup(install_requires=[x for x in 'ab'])\n",
            "from setuptools import setup\nsetup()\nprint(1)\n",
            "from setuptools import setup, Extension\nsetup()\n",
            "from setuptools import setup\nsetup(**{})\n",
            "from setuptools import setup\nsetup(version='1'",
            "from os import system\nsystem('x')\n",
            "from setuptools import setup\nsetup(version='1\n')\n",
        ] {
            assert!(!is_declaration(script), "{script}");
        }
    }
}
