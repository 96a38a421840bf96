use std::{fs, path::Path};

use db::Flavour;
use harness::{TestDatabase, on_both_flavours};
use serde_json::Value;

use crate::support::{click, hour, impression, settle, store_all, writer};

on_both_flavours!(every_statement_of_the_documentation_and_of_the_dashboard_runs,);

fn documentation(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)).unwrap()
}

fn statements() -> Vec<String> {
    let page = documentation("sql.md");
    let blocks = page.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    let dashboard: Value = serde_json::from_str(&documentation("grafana/analytics.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries = panels.map(|panel| panel["targets"][0]["rawSql"].as_str().unwrap().to_owned());
    // What Grafana puts in the places of its macro and its variable.
    let filter = "hour BETWEEN '2015-05-17T00:00:00Z' AND '2015-05-18T00:00:00Z'";
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let variables = variables.filter(|variable| variable["type"] == "query");
    let variables = variables.map(|variable| variable["query"].as_str().unwrap().to_owned());
    let queries = queries.chain(variables);
    let put_in = |sql: String| sql.replace("$__timeFilter(hour)", filter).replace("${site:sqlstring}", "''");
    blocks.chain(queries).map(put_in).collect()
}

async fn every_statement_of_the_documentation_and_of_the_dashboard_runs(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let now = chrono::Utc::now().to_rfc3339();
    let events =
        [click("2015-05-17T10:00:00Z", "anna"), impression("2015-05-17T11:00:00Z", "anna"), impression(&now, "ben")];
    store_all(&mut writer(database.store()), &events).await;
    settle(database.store(), hour("2015-05-17T10:00:00Z")).await;

    let client = database.client().await;
    // In the place of the foreign tables of other databases.
    for schema in ["shard_0", "shard_1"] {
        let views = format!("create schema {schema}; create view {schema}.hourly as select * from analytics.hourly");
        client.batch_execute(&views).await.unwrap();
    }
    let statements = statements();
    assert_eq!(statements.len(), 17);
    for sql in statements {
        let rows = client.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(!rows.is_empty(), "{sql}");
    }
}
