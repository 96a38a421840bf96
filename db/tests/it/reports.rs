use db::Flavour;
use harness::{TestDatabase, on_both_flavours};
use model::{HourCounts, HourRow, SiteId};

use crate::support::{click, counts, hour, impression, settle, store_all, writer};

on_both_flavours!(a_range_has_every_hour_open_settled_and_empty_alike,);

async fn a_range_has_every_hour_open_settled_and_empty_alike(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    let events = [
        click("2015-05-17T09:59:59Z", "before"),
        click("2015-05-17T10:00:00Z", "anna"),
        impression("2015-05-17T12:30:00Z", "anna"),
        click("2015-05-17T12:30:00Z", "ben"),
        click("2015-05-17T13:00:00Z", "after"),
    ];
    store_all(&mut writer, &events).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    // A second writer has counters of its own in the same hour.
    store_all(&mut crate::support::writer(store), &[click("2015-05-17T12:31:00Z", "ben")]).await;

    let row = |at, counts, settled| HourRow { hour: hour(at).hour, counts, settled };
    let expected = [
        row("2015-05-17T10:00:00Z", counts(1, 1, 0), true),
        row("2015-05-17T11:00:00Z", HourCounts::default(), false),
        row("2015-05-17T12:00:00Z", counts(2, 2, 1), false),
    ];
    let range = hour("2015-05-17T10:00:00Z").hour..=hour("2015-05-17T12:00:00Z").hour;
    assert_eq!(store.range_counts(SiteId::NAMELESS, &range).await.unwrap().hours, expected);
}
