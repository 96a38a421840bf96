// Waiting for what must come.

/** Asks again and again until the answer passes the check, which throws as long as it does not; after `seconds`, with what it threw. */
export async function until(ask, check, seconds = 10) {
  const deadline = Date.now() + seconds * 1_000;
  for (;;) {
    const answer = await ask();
    try {
      await check(answer);
      return answer;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
