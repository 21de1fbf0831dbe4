//! TLS as a user meets it: certificates that are wrong, own authorities, certificates of our own.

use std::process::Command;

use crate::support::tls::{Authority, TlsFront, self_signed};
use crate::support::yard::{Ran, Yard};

/// A yard whose registry stands behind TLS.
struct Fleet {
    yard: Yard,
    authority: Authority,
}

impl Fleet {
    async fn new() -> Self {
        let fleet = Self { yard: Yard::new().await, authority: Authority::new() };
        std::fs::write(fleet.yard.path("ca.pem"), &fleet.authority.pem).unwrap();
        // Never the authority of what is shown, so that a machine without trust store gets as far.
        std::fs::write(fleet.yard.path("other.pem"), Authority::new().pem).unwrap();
        fleet
    }

    /// The user's configuration.
    fn configure(&self, domain: &str, keys: &str) {
        let text = format!("registries:\n  {domain}:\n    insecure: false\n{keys}");
        std::fs::write(self.yard.path("config.yaml"), text).unwrap();
    }

    /// `lapstrake inspect` of the demo's parent behind TLS, with the user's configuration.
    fn command(&self, domain: &str) -> Command {
        let mut command = self.yard.command("store");
        command.args(["inspect", "--quiet", &format!("{domain}/demo/parent:1")]);
        command.env("LAPSTRAKE_CONFIG", self.yard.path("config.yaml"));
        command
    }

    fn run(&self, domain: &str) -> Ran {
        self.command(domain).output().unwrap().into()
    }

    /// What was told, without what differs from run to run.
    fn told(&self, domain: &str, ran: &Ran) -> String {
        let folder = self.yard.path("").display().to_string();
        let text = ran.stderr.replace(domain, "HOST").replace(folder.trim_end_matches('/'), "DIR");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{text}");
        text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_where_https_is_asked_for_is_refused() {
    let fleet = Fleet::new().await;
    let domain = fleet.yard.domain();
    fleet.configure(&domain, "    ca_file: ca.pem\n");
    let text = fleet.told(&domain, &fleet.run(&domain));
    insta::assert_snapshot!(text, @"
    error: `HOST` does not speak https
      hint: if the network between is yours, allow it with `--insecure-registry HOST`
    ");
    println!("row A8: plain http is refused in place of https: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_where_plain_http_is_asked_for_is_named() {
    let fleet = Fleet::new().await;
    let front = TlsFront::start(fleet.yard.domain(), &fleet.authority.issue(&["localhost"]), None).await;
    std::fs::write(fleet.yard.path("config.yaml"), "").unwrap();
    let text = fleet.told(&front.domain(), &fleet.run(&front.domain()));
    insta::assert_snapshot!(text, @"
    error: `HOST` does not answer in plain http
      because: invalid HTTP version parsed
      hint: if `HOST` speaks https, take it off the registries that are spoken to by plain http
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_wrong_are_refused_with_reason_and_cure() {
    let fleet = Fleet::new().await;
    let cases = [
        ("expired", "ca.pem", fleet.authority.expired(&["localhost"])),
        ("wrong host", "ca.pem", fleet.authority.issue(&["registry.example"])),
        ("self-signed", "other.pem", self_signed(&["localhost"])),
        ("unknown issuer", "other.pem", fleet.authority.issue(&["localhost"])),
    ];
    let mut told = String::new();
    for (name, roots, own) in cases {
        let front = TlsFront::start(fleet.yard.domain(), &own, None).await;
        fleet.configure(&front.domain(), &format!("    ca_file: {roots}\n"));
        let text = fleet.told(&front.domain(), &fleet.run(&front.domain()));
        // The verifier says by how many seconds.
        let text = text.lines().map(|line| line.split(": verification time").next().unwrap()).collect::<Vec<_>>();
        told.push_str(&format!("{name}\n{}\n", text.join("\n")));
    }
    assert_eq!(fleet.yard.requests(), Vec::<String>::new(), "not one request went through");
    insta::assert_snapshot!(told, @r#"
    expired
    error: no trusted TLS connection to `HOST`: its certificate has expired
      because: invalid peer certificate: certificate expired
      hint: whoever runs `HOST` has to renew its certificate; check this machine's clock
    wrong host
    error: no trusted TLS connection to `HOST`: its certificate is for another host
      because: invalid peer certificate: certificate not valid for name "localhost"; certificate is only valid for DnsName("registry.example")
      hint: use the name that the certificate is for instead of `HOST`
    self-signed
    error: no trusted TLS connection to `HOST`: nobody who is trusted here has issued its certificate
      because: invalid peer certificate: UnknownIssuer
      hint: if you know the issuer, name its certificate: `--ca-file FILE`, or `registries.HOST.ca_file` in the user configuration
    unknown issuer
    error: no trusted TLS connection to `HOST`: nobody who is trusted here has issued its certificate
      because: invalid peer certificate: UnknownIssuer
      hint: if you know the issuer, name its certificate: `--ca-file FILE`, or `registries.HOST.ca_file` in the user configuration
    "#);
    println!("row A8: expired, wrong host, self-signed, unknown issuer: 4 of 4 refused before any request");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_authority_is_trusted_where_it_is_named() {
    let fleet = Fleet::new().await;
    let front = TlsFront::start(fleet.yard.domain(), &fleet.authority.issue(&["localhost"]), None).await;
    let mut ways = 0;
    for keys in ["    ca_file: ca.pem\n".to_owned(), format!("    ca_file: {}\n", fleet.yard.path("ca.pem").display())]
    {
        fleet.configure(&front.domain(), &keys);
        let ran = fleet.run(&front.domain());
        assert!(ran.code == 0 && ran.stdout.contains("demo/parent:1"), "{}", ran.stderr);
        ways += 1;
    }
    std::fs::create_dir_all(fleet.yard.path("home/.config/lapstrake")).unwrap();
    std::fs::copy(fleet.yard.path("ca.pem"), fleet.yard.path("home/ca.pem")).unwrap();
    fleet.configure(&front.domain(), "    ca_file: ~/ca.pem\n");
    std::fs::copy(fleet.yard.path("config.yaml"), fleet.yard.path("home/.config/lapstrake/config.yaml")).unwrap();
    let ran: Ran = fleet.command(&front.domain()).env_remove("LAPSTRAKE_CONFIG").output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    fleet.configure(&front.domain(), "");
    let mut command = fleet.command(&front.domain());
    let ran: Ran = command.arg("--ca-file").arg(fleet.yard.path("ca.pem")).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran: Ran =
        fleet.command(&front.domain()).env("SSL_CERT_FILE", fleet.yard.path("ca.pem")).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    println!("row A9: own authority accepted by ca_file ({} paths), --ca-file, SSL_CERT_FILE", ways + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_and_pushed_over_tls() {
    let fleet = Fleet::new().await;
    let front = TlsFront::start(fleet.yard.domain(), &fleet.authority.issue(&["localhost"]), None).await;
    fleet.configure(&front.domain(), "    ca_file: ca.pem\n");
    let (parent, tag) = (format!("{}/demo/parent:1", front.domain()), format!("{}/demo/app:tls", front.domain()));
    let mut command = fleet.yard.build_command("store", &["--parent-image", &parent, "--tag", &tag]);
    let ran: Ran = command.env("LAPSTRAKE_CONFIG", fleet.yard.path("config.yaml")).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(fleet.yard.digest_of("demo/app:tls").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_a_certificate_gets_the_one_that_is_configured() {
    let fleet = Fleet::new().await;
    let own = fleet.authority.issue(&["localhost"]);
    let front = TlsFront::start(fleet.yard.domain(), &own, Some(&fleet.authority)).await;
    fleet.configure(&front.domain(), "    ca_file: ca.pem\n");
    let mut told = format!("none\n{}", fleet.told(&front.domain(), &fleet.run(&front.domain())));
    let stranger = Authority::new().issue(&["me"]);
    std::fs::write(fleet.yard.path("me.pem"), stranger.certificate + &stranger.key).unwrap();
    fleet.configure(&front.domain(), "    ca_file: ca.pem\n    client_certificate: me.pem\n");
    told.push_str(&format!("a stranger's\n{}", fleet.told(&front.domain(), &fleet.run(&front.domain()))));
    insta::assert_snapshot!(told, @"
    none
    error: no trusted TLS connection to `HOST`: it wants a client certificate
      because: received fatal alert: CertificateRequired
      hint: name it by `registries.HOST.client_certificate`, and its key by `client_key` there, in the user configuration
    a stranger's
    error: no trusted TLS connection to `HOST`: it does not accept our client certificate
      because: received fatal alert: UnknownCA
      hint: see that `HOST` knows the issuer of `registries.HOST.client_certificate`
    ");
    let me = fleet.authority.issue(&["me"]);
    std::fs::write(fleet.yard.path("me.pem"), &me.certificate).unwrap();
    std::fs::write(fleet.yard.path("me.key"), &me.key).unwrap();
    fleet.configure(&front.domain(), "    ca_file: ca.pem\n    client_certificate: me.pem\n    client_key: me.key\n");
    let ran = fleet.run(&front.domain());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    println!(
        "row A9: client certificate: none and a stranger's refused with reason and cure, the registry's own taken"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_closes_for_want_of_a_certificate_is_understood_at_the_first_try() {
    let fleet = Fleet::new().await;
    let own = fleet.authority.issue(&["localhost"]);
    let front = TlsFront::start_abrupt(fleet.yard.domain(), &own, &fleet.authority).await;
    let stranger = Authority::new().issue(&["me"]);
    std::fs::write(fleet.yard.path("me.pem"), stranger.certificate + &stranger.key).unwrap();
    let cases = [
        ("", "it wants a client certificate", "name it by `registries.HOST.client_certificate`"),
        (
            "    client_certificate: me.pem\n",
            "it does not accept our client certificate",
            "see that `HOST` knows the issuer of `registries.HOST.client_certificate`",
        ),
    ];
    for (number, (keys, fault, cure)) in cases.into_iter().enumerate() {
        fleet.configure(&front.domain(), &format!("    ca_file: ca.pem\n{keys}"));
        let text = fleet.told(&front.domain(), &fleet.run(&front.domain()));
        let head = format!("error: no trusted TLS connection to `HOST`: {fault}\n");
        assert!(text.starts_with(&head) && text.contains(&format!("hint: {cure}")), "{text}");
        assert_eq!(front.connections(), number + 1, "a connection that is refused is not tried again");
    }
    let mut command = fleet.yard.command("store");
    command.args(["doctor", &front.domain()]).env("LAPSTRAKE_CONFIG", fleet.yard.path("config.yaml"));
    fleet.configure(&front.domain(), "    ca_file: ca.pem\n");
    let ran: Ran = command.output().unwrap().into();
    assert!(ran.code == 1 && ran.stdout.contains("it wants a client certificate"), "{}", ran.stdout);
    println!("row A9: a registry that closes for want of a client certificate: named at the first try, 1 connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_configuration_that_are_wrong_are_named_with_their_key() {
    let fleet = Fleet::new().await;
    let (first, second) = (fleet.authority.issue(&["a"]), fleet.authority.issue(&["b"]));
    std::fs::write(fleet.yard.path("me.pem"), first.certificate).unwrap();
    std::fs::write(fleet.yard.path("other.key"), second.key).unwrap();
    std::fs::write(fleet.yard.path("text.pem"), "no certificate at all\n").unwrap();
    std::fs::write(fleet.yard.path("broken.pem"), "-----BEGIN CERTIFICATE-----\n!!!\n").unwrap();
    let mut told = String::new();
    for keys in [
        "    ca_file: nowhere.pem\n",
        "    ca_file: text.pem\n",
        "    ca_file: broken.pem\n",
        "    client_certificate: me.pem\n",
        "    client_certificate: me.pem\n    client_key: other.key\n",
        "    proxy: 'http://user:canary@['\n",
    ] {
        fleet.configure("registry.example", keys);
        let ran = fleet.run("registry.example");
        let folder = fleet.yard.path("").display().to_string();
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        told.push_str(&ran.stderr.replace(folder.trim_end_matches('/'), "DIR"));
    }
    assert!(!told.contains("canary"));
    insta::assert_snapshot!(told, @"
    error: DIR/config.yaml:4:14: `registries.registry.example.ca_file` names `DIR/nowhere.pem`, which cannot be read: No such file or directory (os error 2)
      hint: see that the file is there and can be read
    error: DIR/config.yaml:4:14: `registries.registry.example.ca_file` names `DIR/text.pem`, which holds no certificate in PEM
      hint: a PEM file has lines `-----BEGIN CERTIFICATE-----`; DER becomes PEM by `openssl x509 -inform der -in FILE`
    error: DIR/config.yaml:4:14: `registries.registry.example.ca_file` names `DIR/broken.pem`, which is not PEM
      hint: a PEM file has lines `-----BEGIN CERTIFICATE-----`; DER becomes PEM by `openssl x509 -inform der -in FILE`
    error: DIR/config.yaml:4:25: `registries.registry.example.client_certificate` names `DIR/me.pem`, which holds no private key in PEM that can be read without a password
      hint: write the key without encryption: `openssl pkey -in KEY -out PLAIN_KEY`
    error: DIR/config.yaml:5:17: `registries.registry.example.client_key` names `DIR/other.key`, which holds a private key that does not fit the certificate: keys may not be consistent: KeyMismatch
      hint: name the key that was made with the certificate
    error: DIR/config.yaml:4:12: `registries.registry.example.proxy` is not the URL of a proxy
      hint: write `http://[user:password@]host:port`, with special characters percent-encoded; or `none`
    ");
}
