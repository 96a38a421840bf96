use std::collections::HashSet;

use db::Flavour;
use harness::{Daemon, TestDatabase};
use reqwest::{Client, Method, StatusCode};

#[tokio::test]
async fn every_answer_has_the_id_of_its_request_which_is_the_clients_if_it_is_safe() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let http = Client::new();
    let mut drawn = HashSet::new();
    for (method, path, status) in [
        (Method::GET, "/analytics?timestamp=0", StatusCode::OK),
        (Method::HEAD, "/analytics?timestamp=0", StatusCode::OK),
        (Method::POST, "/analytics?timestamp=0&user=anna&event=click", StatusCode::NO_CONTENT),
        (Method::POST, "/analytics?timestamp=0&user=anna&event=neither", StatusCode::BAD_REQUEST),
        (Method::PUT, "/analytics", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/analytics.gif?user=anna", StatusCode::OK),
        (Method::GET, "/analytics/hours?from=x", StatusCode::BAD_REQUEST),
        (Method::GET, "/healthz", StatusCode::OK),
        (Method::GET, "/", StatusCode::OK),
        (Method::GET, "/docs", StatusCode::OK),
        (Method::GET, "/nothing", StatusCode::NOT_FOUND),
    ] {
        let request = || http.request(method.clone(), format!("{}{path}", daemon.url()));
        let given = "a-Client.s_name-0123456789";
        let answer = request().header("X-Request-Id", given).send().await.unwrap();
        assert_eq!((answer.status(), answer.headers()["x-request-id"].to_str().unwrap()), (status, given), "{path}");

        for other in ["", "two words", "a\"quote", "semi;colon", &"x".repeat(65)] {
            let answer = request().header("X-Request-Id", other).send().await.unwrap();
            let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
            assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{other:?} becomes {id}");
            assert!(drawn.insert(id), "no id is used twice");
            assert_eq!(answer.headers().get_all("x-request-id").iter().count(), 1);
        }
    }
}
