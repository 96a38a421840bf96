// Buttons that copy the text beside them.

export function enableCopying(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    const label = button.firstChild;
    const usual = label.textContent;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        label.textContent = "Copied";
      } catch {
        // Browsers allow the clipboard only for pages over https and of this machine; the selected text can be copied
        // by hand.
        getSelection().selectAllChildren(source);
        label.textContent = "Selected";
      }
      setTimeout(() => (label.textContent = usual), 2_000);
    });
  }
}
