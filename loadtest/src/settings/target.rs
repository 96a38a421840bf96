use std::path::PathBuf;

use client::ServerUrl;
use model::{BearerToken, BearerTokenParser, GivenToken};
use reqwest::header::HeaderValue;

use crate::hosts::Host;

const DEFAULT_HOST: &str = "http://127.0.0.1:8080";

#[derive(Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// Where analyticsd listens: http://HOST:PORT, or with https where a proxy in front of it speaks TLS [default: port
    /// 8080 of this machine; merge: the counts that the runs read at their ends].
    ///
    /// A name and a password in it are for that proxy; --token takes their place. Given several times, these are
    /// replicas: requests go to them in turn, and each must count what any of them acknowledged.
    #[arg(long = "host", value_name = "URL")]
    hosts: Vec<ServerUrl>,

    /// The token for a daemon that requires one, with the scopes write and read.
    ///
    /// Other users of this machine can see flags in the process list: prefer the variable.
    #[arg(long, env = "ANALYTICS_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = BearerTokenParser)]
    token: Option<GivenToken>,

    /// For https: trust certificates of this authority too, besides those that this machine trusts.
    ///
    /// The file has one or more certificates in PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
}

impl TargetArgs {
    /// At least one.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let given = self.given();
        if given.is_empty() { vec![self.host(&DEFAULT_HOST.parse().expect("it is valid"))] } else { given }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let urls: Vec<String> = self.given().into_iter().map(|host| host.url).collect();
        let twice = urls.iter().enumerate().find(|(place, url)| urls[..*place].contains(url));
        twice.map_or(Ok(()), |(_, url)| Err(format!("{url} is given twice as --host; give each of the replicas once")))
    }

    pub(super) fn given(&self) -> Vec<Host> {
        self.hosts.iter().map(|url| self.host(url)).collect()
    }

    pub(super) fn host(&self, url: &ServerUrl) -> Host {
        let (url, of_host) = url.split();
        let of_token = self.token.as_ref().and_then(|given| given.0.as_ref()).map(BearerToken::authorization);
        Host { url: url.to_string(), authorization: of_token.or(of_host).as_deref().map(authorization) }
    }
}

fn authorization(value: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(value).expect("a token, and Base64, are visible ASCII");
    value.set_sensitive(true);
    value
}
