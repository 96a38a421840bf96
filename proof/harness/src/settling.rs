use tokio_postgres::Client;

/// Settles an hour, which begins at an instant such as `2015-05-17T10:00:00Z`, of each of the sites, while a daemon is the settler. Nobody may write
/// to it meanwhile.
///
/// # Panics
///
/// If the hour is not open, or cannot be settled.
pub async fn settle(client: &Client, hour: &str, sites: &[i32]) {
    let refresh = format!("call analytics.refresh_hour('{hour}')");
    client.batch_execute(&refresh).await.expect("the aggregate can be computed");
    let number =
        format!("select site, numbers, names from analytics.number_visitors('{hour}', $1, false) order by site");
    let numbered = client.query(&number, &[&sites]).await.expect("visitors can be numbered");
    let (mut sites, mut sets, mut names) = (Vec::<i32>::new(), Vec::new(), Vec::<i64>::new());
    for row in numbered {
        sites.push(row.get(0));
        sets.push(set_of(row.get(1)));
        names.push(row.get(2));
    }
    let settle = format!("select bool_and(is_settled) from analytics.settle('{hour}', $1, $2, $3)");
    let settled = client.query_one(&settle, &[&sites, &sets, &names]).await.expect("settling needs no more");
    assert_eq!(settled.get::<_, Option<bool>>(0), Some(true), "the hour {hour} was not settled");
}

/// A Roaring bitmap of a few numbers, by <https://github.com/RoaringBitmap/RoaringFormatSpec>: the cookie of the format without runs, one container,
/// its key and its cardinality less one, where it begins, and its numbers.
fn set_of(mut numbers: Vec<i32>) -> Vec<u8> {
    numbers.sort_unstable();
    let numbers: Vec<u16> = numbers.into_iter().map(|number| number.try_into().expect("visitors are few")).collect();
    let last = u16::try_from(numbers.len() - 1).expect("visitors are few");
    let head = [12_346_u32, 1].into_iter().flat_map(u32::to_le_bytes);
    let container = [0, last].into_iter().flat_map(u16::to_le_bytes).chain(16_u32.to_le_bytes());
    head.chain(container).chain(numbers.into_iter().flat_map(u16::to_le_bytes)).collect()
}
