// As small as a single-page app can be: routes, and nothing behind them.

const show = () => {
  document.querySelector("#route").textContent = location.pathname.split("/").pop() + location.hash;
};

for (const button of document.querySelectorAll("[data-route]")) {
  button.addEventListener("click", () => {
    history.pushState(null, "", button.dataset.route);
    show();
  });
}
addEventListener("popstate", show);
document.querySelector("#own").addEventListener("click", () => window.analytics?.click());
