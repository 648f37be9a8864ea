// The service worker: keeps the page and the models for being offline, and adds the headers that threads need.

/**
 * Resolves when the page works offline; never where the browser has no service workers.
 *
 * @param files what is needed beside the page itself
 * @param isBusy whether the page is in use, and must not be loaded anew
 */
export async function keepOffline(base: string, files: string[], isBusy: () => boolean): Promise<void> {
  if (import.meta.env.DEV || !('serviceWorker' in navigator)) return new Promise(() => undefined);
  await navigator.serviceWorker.register(`${base}sw.js`);
  const { active } = await navigator.serviceWorker.ready;
  // a static host sends no headers for threads; the worker adds them when the page is loaded again
  if (!self.crossOriginIsolated && !isBusy() && !sessionStorage.getItem('reloaded')) {
    sessionStorage.setItem('reloaded', 'true');
    location.reload();
    return new Promise(() => undefined);
  }
  const channel = new MessageChannel();
  const kept = new Promise<boolean>((resolve) => {
    channel.port1.onmessage = ({ data }: MessageEvent<boolean>) => resolve(data);
  });
  active!.postMessage(files, [channel.port2]);
  return (await kept) ? undefined : new Promise(() => undefined);
}
