//! The line of a server's configuration that a format string stands in, as it is pasted.

use super::pattern_syntax::InvalidPattern;

/// The format string of a text: that alone, in the quotes of a configuration, or with its whole directive.
pub(super) fn format_string(text: &str) -> Result<String, InvalidPattern> {
    let text = text.trim();
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let words = || words(rest);
    match name.to_ascii_lowercase().as_str() {
        // `log_format NAME [escape=…] TEXT…;`
        "log_format" => {
            let words = words()?;
            let texts = words.iter().skip(1).skip_while(|word| word.starts_with("escape="));
            let format: String = texts.map(String::as_str).collect();
            if format.trim_start().starts_with('{') {
                return Err(InvalidPattern::new("writes JSON, which --format json reads without it"));
            }
            some(format)
        }
        // `LogFormat TEXT [NAME]`
        "logformat" => some(words()?.into_iter().next().unwrap_or_default()),
        // `accesslog.format = TEXT`, of lighttpd
        "accesslog.format" => some(words()?.into_iter().find(|word| word != "=").unwrap_or_default()),
        // `CustomLog FILE TEXT`, or with a name
        "customlog" | "transferlog" | "globallog" | "access_log" => {
            some(words()?.into_iter().skip(1).find(|word| word.contains('%')).unwrap_or_default())
        }
        _ if !text.is_empty() && !text.contains(['%', '$']) => some(String::new()),
        _ => Ok(unquoted(text)),
    }
}

fn some(format: String) -> Result<String, InvalidPattern> {
    if format.is_empty() {
        return Err(InvalidPattern::new(
            "has no format string, but perhaps the name of one: paste the line log_format or LogFormat that defines it",
        ));
    }
    Ok(format)
}

/// Without the quotes of a configuration, where nginx may have several texts one after the other.
fn unquoted(text: &str) -> String {
    let text = text.trim_end_matches(';').trim_end();
    if text.starts_with('\'')
        && text.ends_with('\'')
        && let Ok(words) = words(text)
    {
        return words.concat();
    }
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.filter(|inner| inner.contains("\\\"") || !inner.contains('"')).unwrap_or(text).to_owned()
}

/// The words of a directive up to its end, without the quotes around them.
fn words(text: &str) -> Result<Vec<String>, InvalidPattern> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        match first {
            ';' => break,
            '#' => while characters.next_if(|&c| c != '\n').is_some() {},
            // Apache goes on with a line behind it.
            '\\' if characters.next_if_eq(&'\n').is_some() => {}
            _ if first.is_whitespace() => {}
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match characters.next().ok_or_else(|| InvalidPattern::new("has a quote that is not closed"))? {
                        c if c == first => break,
                        '\\' => match characters.next() {
                            Some(quoted @ ('"' | '\'' | '\\')) => word.push(quoted),
                            Some('\n') => {}
                            other => word.extend(['\\'].into_iter().chain(other)),
                        },
                        c => word.push(c),
                    }
                }
                words.push(word);
            }
            _ => {
                let mut word = String::from(first);
                while let Some(c) = characters.next_if(|&c| c != ';' && !c.is_whitespace()) {
                    word.push(c);
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::format_string;

    #[test]
    fn a_format_string_is_found_in_its_directive() {
        let nginx = r#"$remote_addr - $remote_user [$time_local] "$request" $status"#;
        for (pasted, format) in [
            (nginx, nginx),
            ("log_format main '$remote_addr - $remote_user [$time_local] '\n    '\"$request\" $status';", nginx),
            (
                "  log_format  main escape=default '$remote_addr - $remote_user [$time_local] ' # who\n'\"$request\" $status' ;\n",
                nginx,
            ),
            (r#"log_format main "$remote_addr - $remote_user [$time_local] \"$request\" $status";"#, nginx),
            (r#"'$remote_addr - $remote_user [$time_local] ' '"$request" $status';"#, nginx),
            (r#"LogFormat "%h %l %u %t \"%r\" %>s %b" combined"#, r#"%h %l %u %t "%r" %>s %b"#),
            ("logformat '%h %t \"%r\" %>s'", r#"%h %t "%r" %>s"#),
            ("LogFormat \"%h %l %u %t \\\n\\\"%r\\\" %>s\" combined", r#"%h %l %u %t "%r" %>s"#),
            (r#"CustomLog "logs/access_log" "%h %t \"%r\" %>s" env=!x"#, r#"%h %t "%r" %>s"#),
            (r#"accesslog.format = "%h %V %u %t \"%r\" %>s""#, r#"%h %V %u %t "%r" %>s"#),
            (r#""%h" %t "%r" "%>s""#, r#""%h" %t "%r" "%>s""#),
        ] {
            assert_eq!(format_string(pasted).unwrap(), format, "{pasted}");
        }
    }

    #[test]
    fn what_has_no_format_string_is_refused_with_what_to_paste() {
        for (pasted, told) in [
            ("main", "paste the line log_format"),
            ("log_format main;", "paste the line log_format"),
            ("access_log /var/log/nginx/access.log main;", "paste the line log_format"),
            ("CustomLog logs/access_log combined", "paste the line log_format"),
            ("LogFormat", "paste the line log_format"),
            ("log_format json escape=json '{\"time\":\"$time_iso8601\"}';", "--format json reads"),
            ("log_format main '$remote_addr", "not closed"),
        ] {
            let error = format_string(pasted).unwrap_err().to_string();
            assert!(error.contains(told), "{pasted}: {error}");
        }
    }
}
